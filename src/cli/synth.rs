//! `tamslake synth`: a synthetic catalogue of any size, put through the same operations that clients use, without HTTP.
//! Which Flows and segments there are is decided in `plan` and `segments`, which do no I/O; see docs/synth.md.

mod dice;
mod encoding;
mod plan;
mod segments;

use std::future::Future;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{CommonArgs, say, serve};
use crate::app::App;
use crate::catalog::CommitError;
use crate::clock::{Clock, Stopwatch};
use crate::domain::{CollectionItem, ContentFormat, FlowStatus, TagValue, Tags};
use crate::operations::{
    FlowRequest, MAX_LIMIT, OperationError, StorageRequest, Tams, TechnicalFrom, allocate_storage, put_flow,
    register_segments, register_sized_segments,
};
use crate::telemetry;
use plan::{Plan, PlannedFlow, Role};
use segments::Batch;

/// Requests under way at one time: enough that a log entry holds several and the next one fills meanwhile.
const IN_FLIGHT: usize = 64;
/// Between two tries of a request that was refused because too many are waiting.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// Keeps all times within what a timeline can hold, with much to spare.
const MOST_SEGMENTS: u64 = 1_000_000_000_000;
const MOST_FLOWS: u64 = 100_000_000;

/// Adds a synthetic catalogue to a data folder: Sources, Flows, segments and Objects (without bytes) as broadcasters have
/// them, through the same write path as the API. The same flags make the same catalogue; another seed adds to it.
#[derive(Debug, Args)]
pub struct SynthArgs {
    /// Configuration file (TOML), as for `serve`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the catalogue and the media, made if it is missing; no server may run on it [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How many Flows to make
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_FLOWS))]
    flows: u64,
    /// How many segments they have together
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(..=MOST_SEGMENTS))]
    segments: u64,
    /// What ids and all else follow from; a catalogue takes each seed once
    #[arg(long, value_name = "S")]
    seed: u64,
    /// Print the summary as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Ends when the process is asked to stop.
type Stop = Shared<BoxFuture<'static, ()>>;

pub fn run(args: &SynthArgs) -> anyhow::Result<()> {
    let common = CommonArgs { config: args.config.clone(), data_dir: args.data_dir.clone(), listen: None };
    let config = common.config()?;
    let flows = usize::try_from(args.flows).context("--flows is more than this machine can count")?;
    serve::run_to_end(async {
        telemetry::start(&config.log).context("logging cannot start")?;
        let app = App::open(config, Clock::system()).await?;
        let stop: Stop = serve::stop_signal()?.boxed().shared();
        let watch = Stopwatch::start();
        let plan = Arc::new(Plan::new(flows, args.segments, args.seed));
        let made =
            Synth { tams: app.tams.clone(), plan: plan.clone(), bar: progress_bar(args.segments), stop }.make().await;
        let catalogue = app.tams.catalog.opened().catalogue.clone();
        // Whatever came of it: what was committed stays, and a checkpoint under way may finish.
        app.close().await;
        made?;
        summarise(&plan, &catalogue, watch.elapsed(), args.json);
        Ok(())
    })
}

#[derive(Clone)]
struct Synth {
    tams: Arc<Tams>,
    plan: Arc<Plan>,
    bar: ProgressBar,
    stop: Stop,
}

impl Synth {
    async fn make(&self) -> anyhow::Result<()> {
        self.check_unused().await?;
        self.bar.set_message("Flows");
        // The first Flow alone: from then on the seed counts as used.
        let (first, rest) = self.plan.flows().split_at(1);
        self.put_in_turn(first).await?;
        let groups = rest.chunk_by(|one, next| one.group == next.group).map(<[_]>::to_vec);
        self.all(groups, |synth, group| async move { synth.put_in_turn(&group).await }).await?;
        self.bar.set_message("captured");
        self.all(segments::captured(&self.plan), |synth, batch| async move { synth.register(batch).await }).await?;
        self.bar.set_message("edits");
        self.all(segments::edits(&self.plan), |synth, batch| async move { synth.register(batch).await }).await?;
        self.bar.finish_and_clear();
        Ok(())
    }

    /// Does all of them, many at a time, each as a task of its own, as requests of clients are. Errors: one failed, or the
    /// process was asked to stop; those under way are finished then.
    async fn all<T, F>(&self, work: impl Iterator<Item = T>, run: impl Fn(Self, T) -> F) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<u64>> + Send + 'static,
    {
        stream::iter(work)
            .take_until(self.stop.clone())
            .map(|item| tokio::spawn(run(self.clone(), item)))
            .buffer_unordered(IN_FLIGHT)
            .map(|ended| ended.context("a request did not come to its end")?)
            .try_for_each(|segments| {
                self.bar.inc(segments);
                futures::future::ready(Ok(()))
            })
            .await?;
        if self.stop.peek().is_some() {
            bail!(
                "stopped after {} of {} segments. They stay; seed {} cannot be used on this folder again",
                self.bar.position(),
                self.plan.segments,
                self.plan.seed
            );
        }
        Ok(())
    }

    async fn check_unused(&self) -> anyhow::Result<()> {
        // Registers nothing, but asks for the Flow that is made first.
        match register_segments(&self.tams, self.plan.flow_id(0), Vec::new()).await {
            Err(OperationError::FlowNotFound(_)) => Ok(()),
            Ok(_) | Err(OperationError::ReadOnly(_) | OperationError::NoContainer(_)) => bail!(
                "seed {} was used on this folder already, and its ids exist: take another --seed to add more. \
                 Nothing was changed",
                self.plan.seed
            ),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts the Flows of a group in order: the first of a Source gives it its words, and members come before a collection.
    async fn put_in_turn(&self, group: &[PlannedFlow]) -> anyhow::Result<u64> {
        for flow in group {
            self.put(flow).await?;
        }
        Ok(0)
    }

    /// Puts a Flow, and hands out the storage of its init objects.
    async fn put(&self, flow: &PlannedFlow) -> anyhow::Result<()> {
        let request = self.flow_request(flow)?;
        let id = request.id;
        patiently(|| put_flow(&self.tams, request.clone(), None))
            .await
            .with_context(|| format!("Flow {id} was not put"))?;
        let init_objects: Vec<_> = self.plan.init_objects(flow).collect();
        for some in init_objects.chunks(MAX_LIMIT as usize) {
            let request = StorageRequest { object_ids: Some(some.to_vec()), ..StorageRequest::default() };
            patiently(|| allocate_storage(&self.tams, id, request.clone()))
                .await
                .with_context(|| format!("no storage for the init objects of Flow {id}"))?;
        }
        Ok(())
    }

    fn flow_request(&self, flow: &PlannedFlow) -> anyhow::Result<FlowRequest> {
        let cut = flow.encoding.cut();
        let (kind, status) = match flow.role {
            Role::Live => ("Channel", FlowStatus::Ingesting),
            Role::Archive => ("Archive", FlowStatus::ClosedComplete),
            Role::Edit => ("Edit", FlowStatus::ClosedComplete),
            Role::Collection => ("Programme", FlowStatus::ClosedComplete),
        };
        let members: &[PlannedFlow] =
            if flow.role == Role::Collection { self.plan.members(flow) } else { Default::default() };
        let member = |member: &PlannedFlow| CollectionItem {
            id: self.plan.flow_id(member.number),
            role: Some(role_of(member.encoding.cut().format).into()),
            container_mapping: None,
        };
        Ok(FlowRequest {
            id: self.plan.flow_id(flow.number),
            source_id: self.plan.source_id(flow),
            label: Some(format!("{kind} {} {}", flow.group, cut.name)),
            description: Some(format!("Flow {} of the synthetic catalogue with seed {}", flow.number, self.plan.seed)),
            tags: Tags::from([
                ("synth_seed".into(), TagValue::One(self.plan.seed.to_string())),
                ("synth_role".into(), TagValue::One(kind.to_lowercase())),
            ]),
            generation: Some(u32::from(flow.role == Role::Edit)),
            status: Some(status),
            read_only: false,
            max_bit_rate: None,
            technical: TechnicalFrom::Client(Box::new(flow.encoding.technical()?)),
            flow_collection: members.iter().map(member).collect(),
            metadata_version: None,
            created_by: Some("tamslake synth".into()),
            updated_by: None,
        })
    }

    /// Hands out the storage that a batch needs, then registers it. The number of its segments.
    async fn register(&self, batch: Batch) -> anyhow::Result<u64> {
        let Batch { flow, allocate, segments, sizes } = batch;
        if !allocate.is_empty() {
            let request = StorageRequest { object_ids: Some(allocate), ..StorageRequest::default() };
            patiently(|| allocate_storage(&self.tams, flow, request.clone()))
                .await
                .with_context(|| format!("no storage for Objects of Flow {flow}"))?;
        }
        let outcomes = patiently(|| register_sized_segments(&self.tams, flow, segments.clone(), sizes.clone()))
            .await
            .with_context(|| format!("segments of Flow {flow} were not registered"))?;
        for (outcome, segment) in outcomes.into_iter().zip(&segments) {
            outcome.with_context(|| format!("segment {} of Flow {flow} was refused", segment.timerange))?;
        }
        Ok(segments.len() as u64)
    }
}

/// Asks again while too many changes are waiting: that is how the catalogue says "slower".
async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, OperationError>
where
    F: Future<Output = Result<T, OperationError>>,
{
    loop {
        match ask().await {
            Err(OperationError::Commit(CommitError::Busy)) => tokio::time::sleep(BUSY_PAUSE).await,
            outcome => return outcome,
        }
    }
}

fn role_of(format: ContentFormat) -> &'static str {
    match format {
        ContentFormat::Video => "video",
        ContentFormat::Audio => "audio",
        ContentFormat::Image => "image",
        ContentFormat::Data => "data",
        ContentFormat::Multi => "multi",
    }
}

/// On a terminal's standard error; nowhere if that is none.
fn progress_bar(segments: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(Some(segments), indicatif::ProgressDrawTarget::hidden());
    }
    let bar = ProgressBar::new(segments);
    if let Ok(style) =
        ProgressStyle::with_template("{msg:9} {bar:40} {human_pos}/{human_len} segments, {per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

fn summarise(plan: &Plan, catalogue: &str, elapsed: Duration, as_json: bool) {
    let (flows, sources, objects) = (plan.flows().len(), plan.sources(), plan.objects());
    let seconds = elapsed.as_secs_f64();
    let rate = (plan.segments as f64 / seconds.max(1e-9)).round();
    if as_json {
        let summary = json!({
            "catalogue": catalogue, "seed": plan.seed, "flows": flows, "sources": sources, "segments": plan.segments,
            "objects": objects, "seconds": (seconds * 1_000.0).round() / 1_000.0, "segments_per_second": rate,
        });
        say(&summary.to_string());
    } else {
        say(&format!(
            "made {flows} Flows of {sources} Sources with {} segments and {objects} Objects in {seconds:.1} s \
             ({rate:.0} segments/s)",
            plan.segments
        ));
    }
}
