//! The real binary, to be killed.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Client;

pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tamslake"))
}

/// Fills a data folder with `tamslake synth`.
pub fn synth(data: &Path, flows: u64, segments: u64) {
    let (flows, segments) = (flows.to_string(), segments.to_string());
    let mut command = binary();
    command.args(["synth", "--seed", "1", "--flows", &flows, "--segments", &segments, "--data-dir"]).arg(data);
    let made = command.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// `tamslake serve` on a folder; dies with the test.
pub struct Process {
    pub client: Client,
    child: Child,
}

impl Process {
    /// Starts the server and waits until it says where it listens. Errors: what it said instead.
    pub fn start(data: &Path) -> Result<Self, String> {
        Self::start_with(data, &[])
    }

    /// The same with settings from the environment.
    pub fn start_with(data: &Path, settings: &[(&str, &str)]) -> Result<Self, String> {
        let mut command = binary();
        command.envs(settings.iter().copied());
        Self::run(command, data)
    }

    /// With at most so many open files.
    pub fn start_with_open_files(data: &Path, limit: u32) -> Result<Self, String> {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_tamslake")]);
        Self::run(command, data)
    }

    fn run(mut command: Command, data: &Path) -> Result<Self, String> {
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .env("TAMSLAKE__LOG__LEVEL", "warn")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find_map(|line| {
            line.trim().strip_prefix("listening").and_then(|rest| rest.split_whitespace().next().map(str::to_owned))
        });
        match address {
            Some(base) => {
                // Nobody reads its log; a full pipe would stop it.
                let mut errors = child.stderr.take().unwrap();
                std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
                Ok(Self { client: Client::new(base), child })
            }
            None => {
                let mut said = String::new();
                child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                child.wait().unwrap();
                Err(said)
            }
        }
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
