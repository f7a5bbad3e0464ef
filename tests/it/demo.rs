//! The command line: `tamslake demo`, `check-config`, `--help`, and what it says of mistakes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::helpers::{Client, binary, block_on};

/// A demo that runs, with what it printed before it began to serve.
struct Demo {
    child: Child,
    said: Vec<String>,
}

impl Demo {
    fn start(data: &Path) -> Self {
        let mut child = binary()
            .args(["demo", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .env("TAMSLAKE__LOG__LEVEL", "warn")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut errors = child.stderr.take().unwrap();
        let mut demo = Self { child, said: Vec::new() };
        while !demo.said.last().is_some_and(|line| line.contains("Ctrl-C")) {
            let Some(line) = lines.next() else {
                let mut text = String::new();
                errors.read_to_string(&mut text).unwrap();
                panic!("the demo ended: {:?} {text}", demo.said);
            };
            demo.said.push(line.unwrap());
        }
        // Nobody reads its log; a full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        demo
    }

    fn client(&self) -> Client {
        let line = self.said.iter().find(|line| line.trim().starts_with("listening")).unwrap();
        Client::new(line.split_whitespace().nth(1).unwrap().to_owned())
    }

    /// The commands to try, as printed.
    fn commands(&self) -> Vec<&str> {
        self.said.iter().map(|line| line.trim()).filter(|line| line.starts_with("curl ")).collect()
    }

    /// Ends it as Ctrl-C does.
    fn stop(mut self) {
        let killed = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The URL in a curl command.
fn url(command: &str) -> &str {
    command.split_whitespace().last().unwrap().trim_matches('\'')
}

#[test]
fn the_demo_shows_urls_that_work_and_sound_that_plays() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    let demo = Demo::start(&data);
    assert!(demo.said.iter().any(|line| line.contains("making the sample")), "{:?}", demo.said);
    assert!(demo.commands().len() >= 3, "{:?}", demo.said);
    let has_curl = Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !has_curl {
        assert!(std::env::var_os("CI").is_none(), "CI needs curl");
        eprintln!("NOT CHECKED: whether the printed commands work when pasted (there is no curl)");
    }
    for command in demo.commands() {
        if has_curl {
            // Pasted as it stands.
            let output = Command::new("sh").args(["-c", command]).output().unwrap();
            assert!(output.status.success(), "{command}: {output:?}");
            let json: Value = serde_json::from_slice(&output.stdout).unwrap();
            let items = json.as_array();
            assert!(items.is_none_or(|items| !items.is_empty()) && json.get("summary").is_none(), "{command}: {json}");
        }
    }
    let everything = block_on(async {
        let client = demo.client();
        for command in demo.commands() {
            client.send(client.http.get(url(command))).await.expect(200);
        }
        let docs = demo.said.iter().find(|line| line.contains("/docs") && line.contains("open ")).unwrap();
        let docs = client.http.get(docs.split_whitespace().last().unwrap()).send().await.unwrap();
        assert_eq!(docs.status(), 200);
        let (mut sound, mut shared) = (0, 0);
        for flow in client.all("/flows").await {
            for segment in
                client.all(&format!("/flows/{}/segments", flow["id"].as_str().unwrap())).await.iter().step_by(17)
            {
                let answer = client.http.get(segment["get_urls"][0]["url"].as_str().unwrap()).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                assert_eq!(answer.headers()["content-type"].to_str().unwrap(), flow["container"]);
                let bytes = answer.bytes().await.unwrap();
                if flow["container"] == "audio/wav" {
                    is_two_seconds_of_wav(&bytes);
                    sound += 1;
                }
                let object = segment["object_id"].as_str().unwrap();
                let object = client.get(&crate::helpers::object_path(object)).await.expect(200).json;
                shared += usize::from(object["referenced_by_flows"].as_array().unwrap().len() > 1);
            }
        }
        assert!(sound > 10 && shared > 0, "{sound} {shared}");
        client.everything().await
    });
    assert!(everything["sources"].as_array().unwrap().len() >= 3);
    assert!(everything["segments"].as_array().unwrap().len() >= 200);
    assert!(everything["flows"].as_array().unwrap().iter().any(|flow| flow.get("flow_collection").is_some()));
    demo.stop();

    let again = Demo::start(&data);
    assert!(!again.said.iter().any(|line| line.contains("making")), "it is there already: {:?}", again.said);
    assert_eq!(block_on(async { again.client().everything().await }), everything);
    assert_eq!(again.commands().len(), 4);
}

fn is_two_seconds_of_wav(bytes: &[u8]) {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((&bytes[..4], &bytes[8..16], &bytes[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
    let (size, bytes_a_second, data) = (number(4) as usize, number(28), number(40));
    assert_eq!((size + 8, data as usize + 44), (bytes.len(), bytes.len()));
    assert_eq!(data, 2 * bytes_a_second);
    assert!(bytes[44..].iter().any(|byte| *byte != 0), "silence");
}

#[test]
fn the_demo_keeps_away_from_other_catalogues() {
    let folder = tempfile::tempdir().unwrap();
    block_on(async {
        let server = crate::helpers::Process::start(folder.path()).unwrap();
        server.client.make(&crate::helpers::video_flow(1, 7)).await;
    });
    let output = run(&["demo", "--listen", "127.0.0.1:0", "--data-dir", folder.path().to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("another catalogue"), "{output:?}");
}

fn run(args: &[&str]) -> Output {
    binary().args(args).env_remove("RUST_BACKTRACE").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_names_the_commands_and_their_flags() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    for word in ["serve", "demo", "synth", "check-config"] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
    let help = run(&["serve", "--help"]);
    for word in ["--config", "--data-dir", "--listen", "127.0.0.1:8000", "./data"] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
    let version = run(&["--version"]);
    assert_eq!(text(&version.stdout).trim(), format!("tamslake {}", env!("CARGO_PKG_VERSION")));
    for bad in [&[][..], &["swim"], &["serve", "--lisen", "x"], &["serve", "--listen", "nowhere"]] {
        let output = run(bad);
        assert_eq!(output.status.code(), Some(2), "{bad:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn check_config_prints_what_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tamslake.toml");
    std::fs::write(&file, "[http]\nmax_body = \"1 MiB\"\nlisten = \"127.0.0.1:1\"\n[log]\nlevel = \"debug\"\n")
        .unwrap();
    let output = binary()
        .args(["check-config", "--listen", "127.0.0.1:3", "--data-dir", "/somewhere", "--config"])
        .arg(&file)
        .env("TAMSLAKE__HTTP__LISTEN", "127.0.0.1:2")
        .env("TAMSLAKE__MEDIA__URL_TTL", "2h")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = text(&output.stdout);
    for line in [
        "listen = \"127.0.0.1:3\"",
        "max_body = \"1 MiB\"",
        "level = \"debug\"",
        "url_ttl = \"2h\"",
        "dir = \"/somewhere\"",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in {printed}");
    }
    std::fs::write(&file, &printed).unwrap();
    let again = run(&["check-config", "--config", file.to_str().unwrap()]);
    assert_eq!(text(&again.stdout), printed, "what is printed can be read");
}

#[test]
fn a_mistake_in_the_configuration_is_named_and_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tamslake.toml");
    for (toml, words) in [
        ("[http]\nlisen = \"127.0.0.1:1\"\n", &["lisen"][..]),
        ("[htp]\n", &["htp"]),
        ("[media]\nurl_ttl = \"1m\"\n", &["media.url_ttl"]),
        ("[media]\nurl_ttl = \"soon\"\n", &["soon"]),
        ("[http]\nmax_body = 5.5\n", &["max_body"]),
        ("[http]\npublic_url = \"tams.example\"\n", &["public_url"]),
        ("[http\n", &["tamslake.toml"]),
    ] {
        std::fs::write(&file, toml).unwrap();
        for command in ["check-config", "serve", "demo"] {
            let data = folder.path().join("data");
            let output = run(&[
                command,
                "--config",
                file.to_str().unwrap(),
                "--data-dir",
                data.to_str().unwrap(),
                "--listen",
                "127.0.0.1:0",
            ]);
            assert_eq!(output.status.code(), Some(1), "{command} {toml}");
            let errors = text(&output.stderr);
            assert!(words.iter().all(|word| errors.contains(word)), "{command} {toml}: {errors}");
            assert!(!errors.contains("panicked"), "{errors}");
            assert!(!data.exists(), "nothing is made for a wrong configuration");
        }
    }
    let output = run(&["check-config", "--config", "/nowhere.toml"]);
    assert!(!output.status.success() && text(&output.stderr).contains("/nowhere"), "{output:?}");
    let output = binary().arg("check-config").env("TAMSLAKE__HTTP__LISEN", "x").output().unwrap();
    assert!(!output.status.success() && text(&output.stderr).contains("lisen"), "{output:?}");
}

#[test]
fn a_folder_has_one_server_at_a_time_and_an_address_too() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = crate::helpers::Process::start(&data).unwrap();
    let second = crate::helpers::Process::start(&data).err().expect("a second server on the folder");
    assert!(second.contains("lock") || second.contains("use"), "{second}");
    let other = folder.path().join("other");
    let output = run(&["serve", "--listen", server.client.authority(), "--data-dir", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(server.client.authority()), "{output:?}");
    block_on(async { server.client.get("/service").await.expect(200) });
}
