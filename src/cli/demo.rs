//! `tamslake demo`: `serve` on a folder of its own, filled with the sample catalogue of `sample` at the first start.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::{CommonArgs, sample, say, serve};

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the demo's catalogue and media; delete it to start afresh
    #[arg(long, value_name = "DIR", default_value = "./demo-data")]
    data_dir: PathBuf,
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

pub fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let common = CommonArgs { config: args.config.clone(), data_dir: Some(args.data_dir.clone()), listen: args.listen };
    let config = common.config()?;
    serve::run_to_end(async {
        let (app, listening) = serve::open(&config).await?;
        // Made once: what people do to it afterwards is theirs.
        let made = args.data_dir.join("sample-made");
        let sample = sample::make(&app.tams, made.exists(), |done, all| {
            if done == 0 {
                say(&format!("making the sample catalogue: {all} segments of sound"));
            } else if done % 100 == 0 {
                say(&format!("  {done} of {all}"));
            }
        })
        .await?;
        std::fs::write(&made, "tamslake demo made its sample catalogue here\n")
            .with_context(|| format!("{} cannot be written", made.display()))?;
        serve::banner(&config, &app, &listening);
        let base = config.http.public_url.clone().unwrap_or_else(|| format!("http://{}", listening.address));
        say("\ntry");
        say(&format!("  open {base}/docs"));
        say(&format!("  curl -s {base}/flows"));
        say(&format!("  curl -sg '{base}/flows/{}/segments?timerange=[60:0_66:0)'", sample.tone));
        say(&format!("  curl -s '{base}/flows/{}?include_timerange=true'", sample.edit));
        say(&format!("  curl -s {base}/sources"));
        say("the get_urls of all but the cues are WAV files that play in a browser; Ctrl-C stops the demo");
        let stop = serve::stop_signal()?;
        app.serve(listening, stop).await?;
        Ok(())
    })
}
