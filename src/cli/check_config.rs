//! `tamslake check-config`: the effective values, as a configuration file.

use super::{CommonArgs, say};

pub fn run(args: &CommonArgs) -> anyhow::Result<()> {
    say(args.config()?.to_toml().trim_end());
    Ok(())
}
