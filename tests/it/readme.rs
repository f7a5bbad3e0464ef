//! The README's walk-through, run as it stands.

use std::process::Command;

use crate::helpers::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_through_of_the_readme_works_when_pasted() {
    let readme = include_str!("../../README.md");
    let script = readme
        .split("```sh\n")
        .map(|block| block.split("```").next().unwrap())
        .find(|block| block.starts_with("B=http"))
        .expect("the README has a walk-through")
        .replace("http://127.0.0.1:8000", "$BASE");
    let app = TestApp::start().await;
    let (base, folder) = (app.client.base.clone(), app.folder.path().to_owned());
    let output = tokio::task::spawn_blocking(move || {
        Command::new("sh").args(["-e", "-c", &script]).env("BASE", base).current_dir(folder).output().unwrap()
    });
    let output = output.await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("same bytes"), "{said}");
    assert!(said.contains(r#""timerange":"[10:0_101:0)""#), "{said}");
}
