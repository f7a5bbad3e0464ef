//! `tamslake demo`: `serve` on a folder of its own, filled with the sample catalogue of `sample` at the first start.

use std::net::SocketAddr;
use std::path::PathBuf;

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
    serve::runtime()?.block_on(async {
        let (app, listening) = serve::open(&config).await?;
        let sample = sample::make(&app.tams, |done, all| {
            if done == 0 {
                say(&format!("making the sample catalogue: {all} segments of sound"));
            } else if done % 100 == 0 {
                say(&format!("  {done} of {all}"));
            }
        })
        .await?;
        serve::banner(&config, &app, &listening);
        let base = config.http.public_url.clone().unwrap_or_else(|| format!("http://{}", listening.address));
        say("\ntry");
        say(&format!("  open {base}/docs"));
        say(&format!("  curl -s {base}/flows"));
        say(&format!("  curl -sg '{base}/flows/{}/segments?timerange=[60:0_66:0)'", sample.tone));
        say(&format!("  curl -s '{base}/flows/{}?include_timerange=true'", sample.edit));
        say(&format!("  curl -s {base}/sources"));
        say("every get_urls entry is a WAV file that plays in a browser; Ctrl-C stops the demo");
        let stop = serve::stop_signal()?;
        app.serve(listening, stop).await?;
        Ok(())
    })
}
