//! `penstock up`: the whole of Penstock in one process, with child processes as pods.
//!
//! ```text
//! files ──► input ──► control ──► local cluster ──► programs, each behind a queue-proxy
//!              ▲         ▲ ready       │ snapshot            ▲
//!       files.rs: changed │            ├──────► activator ───┘ requests
//!       or SIGHUP         └────────────┤            │ demand
//!                                      └──────► autoscaler ──► scale
//! ```
//!
//! Requests are carried by worker threads. Control, cluster and autoscaler share the main thread:
//! from the first request's demand to the start of its program nothing changes threads again.
//! What may take its time (pages, the terminal) has threads of its own.
//!
//! - [`input`]: files to what is wanted, with [`images`] for what to run, and all mistakes
//! - [`control`]: the loop that follows [`files`] and pods; [`desired`] is what it tells the cluster
//! - [`sidecars`]: the queue-proxies in front of the pods
//! - [`greeting`], [`terminal`]: standard output; [`pages`], [`state`]: the admin listener
//!
//! Here they are put together, started and ended.

mod control;
mod desired;
mod files;
#[cfg(test)]
pub(crate) mod folder;
mod greeting;
pub(crate) mod images;
pub(crate) mod input;
mod pages;
mod sidecars;
mod state;
mod terminal;

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use penstock_activator::{Activator, Handle, Metrics, Running};
use penstock_autoscaler::Autoscaler;
use penstock_cluster::Cluster;
use penstock_cluster_local::{LocalCluster, Options, Reaper};
use penstock_relay::workers::Workers;
use penstock_runtime::admin::{Admin, Routes};
use penstock_runtime::drain::Drained;
use penstock_runtime::metrics::{Attached, Gather, register_build_info, register_process};
use penstock_runtime::signal::{Second, Stops};
use penstock_types::demand::Demand;
use prometheus::Registry;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::cli::UpArgs;
use control::Control;
use files::Reloads;
use greeting::{greeting, hosts};
use images::Images;
use input::Input;
use pages::Pages;
use sidecars::Sidecars;
use state::Sources;
use terminal::{Terminal, Written};

pub(crate) use images::Rule;

/// Batches of demand that may wait for the autoscaler.
const DEMAND: usize = 1024;
/// Time beyond the longest request after which a drain cuts what is left.
const DRAIN_SLACK: Duration = Duration::from_secs(5);
/// Longest that a pod may take to end: Knative's longest request.
const LONGEST_GRACE: Duration = Duration::from_secs(600);

/// What comes from outside besides the arguments.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// This program, which has the samples and the reaper.
    pub(crate) program: PathBuf,
    /// Variables that every pod's program gets.
    pub(crate) base_env: Vec<(String, String)>,
    /// Threads that carry requests.
    pub(crate) workers: NonZeroUsize,
}

/// Why nothing was started.
#[derive(Debug)]
pub(crate) enum Error {
    /// What was asked for cannot be: one sentence for each mistake.
    Input(Vec<String>),
    /// The system does not give what is needed, in a sentence.
    System(String),
}

/// What has to be had before anything is started.
struct Ready {
    control: Control,
    gateway: Activator,
    admin: Admin,
}

/// Everything, started.
struct Up {
    stops: Stops,
    control: Control,
    reloads: Reloads,
    sidecars: Arc<Sidecars>,
    cluster: Arc<LocalCluster>,
    reaper: Arc<Reaper>,
    activator: Running,
    autoscaler: Autoscaler,
    reports: mpsc::Receiver<Vec<Demand>>,
    pages: Pages,
    ready: watch::Sender<bool>,
    _scraped: [Attached; 3],
    _workers: Workers,
}

/// Runs until it is told to stop.
///
/// # Errors
///
/// [`Error`], with nothing started.
pub(crate) fn run(args: UpArgs, surroundings: Surroundings) -> Result<ExitCode, Error> {
    let (main, aside) = (runtime()?, runtime()?);
    let ready = prepare(&args, surroundings.program.clone(), &aside)?;
    let code = main.block_on(async {
        let (up, terminal, written) = start(&args, surroundings, ready, aside)?;
        let code = up.live().await;
        terminal.end();
        written.wait().await;
        Ok(code)
    })?;
    main.shutdown_background();
    Ok(code)
}

fn runtime() -> Result<Runtime, Error> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| system("wait for events", &error))
}

fn system(what: &str, error: &dyn std::error::Error) -> Error {
    Error::System(format!("the system does not let it {what}: {error}"))
}

/// Reads everything and takes both addresses; finds all mistakes.
fn prepare(args: &UpArgs, program: PathBuf, aside: &Runtime) -> Result<Ready, Error> {
    let images = Images::new(args.images.clone(), program);
    let mut mistakes: Vec<String> = images.twice().collect();
    let stdin = args.files.iter().filter(|file| file.as_os_str() == "-");
    if stdin.count() > 1 {
        mistakes.push("- is given twice; standard input can be read once".to_owned());
    }
    let mut note = |mistake: String| mistakes.push(mistake);
    let gateway = Activator::bind(args.listen)
        .map_err(|error| note(error.to_string()))
        .ok();
    let admin = if args.admin == args.listen && args.admin.port() != 0 {
        note(format!("--admin and --listen are both {}", args.admin));
        None
    } else {
        aside
            .block_on(Admin::bind(args.admin))
            .map_err(|error| note(format!("--admin {error}")))
            .ok()
    };
    let mut input = Input::new(&args.files, args.config.as_ref(), images);
    let control = input.read().and_then(|wanted| {
        let control = Control::new(input, &wanted, args.domain.clone())?;
        control::warn(&wanted);
        Ok(control)
    });
    let control = control
        .map_err(|mut wrong| mistakes.append(&mut wrong))
        .ok();
    match (control, gateway, admin) {
        (Some(control), Some(gateway), Some(admin)) if mistakes.is_empty() => Ok(Ready {
            control,
            gateway,
            admin,
        }),
        _ => Err(Error::Input(mistakes)),
    }
}

/// Starts everything, and greets.
fn start(
    args: &UpArgs,
    surroundings: Surroundings,
    ready: Ready,
    aside: Runtime,
) -> Result<(Up, Terminal, Written), Error> {
    let Ready {
        mut control,
        gateway,
        admin,
    } = ready;
    let failed = |what: &'static str| move |error: io::Error| system(what, &error);
    let stops = Stops::install().map_err(failed("handle signals"))?;
    let reloads = Reloads::watch(&control.paths()).map_err(failed("handle signals"))?;
    let (terminal, written) = Terminal::start(io::stdout()).map_err(failed("start a thread"))?;
    let workers = Workers::start(surroundings.workers).map_err(failed("start threads"))?;
    let reaper = Reaper::start(&surroundings.program, ["reaper"], &unique());
    let reaper = Arc::new(reaper.map_err(failed("start its reaper"))?);

    let gather = Gather::default();
    let sidecars = Arc::new(Sidecars::new(workers.clone(), gather.clone()));
    let options = Options {
        base_env: surroundings.base_env,
        output: terminal.output(),
        reaper: Some(Arc::clone(&reaper)),
        longest_grace: LONGEST_GRACE,
    };
    let cluster = Arc::new(LocalCluster::new(Arc::clone(&sidecars) as _, options));
    control.publish(&cluster, &sidecars);

    let pods: Arc<dyn Cluster> = Arc::clone(&cluster) as _;
    let policy = args.policy.into();
    let scaling = Registry::new();
    let autoscaler = Autoscaler::new(Arc::clone(&pods), control.config(), policy, &scaling);
    let autoscaler = autoscaler.map_err(|error| system("measure", &error))?;
    let (of_gateway, own) = (Registry::new(), Registry::new());
    let metrics = Metrics::register(&of_gateway).map_err(|error| system("measure", &error))?;
    register_process(&own)
        .and_then(|()| register_build_info(&own, env!("CARGO_PKG_VERSION")))
        .map_err(|error| system("measure", &error))?;
    let scraped = [
        gather.attach(of_gateway, &[("component", "activator")]),
        gather.attach(scaling, &[("component", "autoscaler")]),
        gather.attach(own, &[("component", "penstock")]),
    ];

    let (demand, reports) = mpsc::channel(DEMAND);
    let addr = gateway.addr();
    let options = penstock_activator::Options {
        list_hosts: addr.ip().is_loopback(),
        waiting: args.waiting,
        waiting_bytes: args.waiting_memory,
        overflow: args.overflow.into(),
        explains_removal: true,
        first_window: NonZeroUsize::new(args.first_window),
        limit_header: args.limit_header.clone(),
        server_timing: args.server_timing,
        waiting_page: args.waiting_page,
        ..penstock_activator::Options::default()
    };
    let activator = gateway
        .start(&workers, &pods, demand, metrics, options)
        .map_err(failed("serve"))?;

    let (ready, is_ready) = watch::channel(true);
    let sources = Sources {
        hosts: control.hosts(),
        snapshot: cluster.snapshot(),
        activator: activator.handle(),
        autoscaler: autoscaler.handle(),
    };
    let explaining = sources.clone();
    let pages = Routes::standard(gather, is_ready)
        .page("/state", move || sources.page())
        .below("/explain/", move |rest| explaining.explain(rest));
    let greeting = greeting(&control.hosts().borrow(), addr, admin.addr());
    let pages = Pages::start(admin, pages, aside).map_err(failed("start a thread"))?;
    terminal.say(greeting);
    let announcing = terminal.clone();
    control.announce(move |new| announcing.say(hosts(new, addr)));
    let up = Up {
        stops,
        control,
        reloads,
        sidecars,
        cluster,
        reaper,
        activator,
        autoscaler,
        reports,
        pages,
        ready,
        _scraped: scraped,
        _workers: workers,
    };
    Ok((up, terminal, written))
}

/// A word that no other run on this machine has.
fn unique() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = now.unwrap_or_default().as_nanos();
    format!("{}-{nanos}", std::process::id())
}

impl Up {
    /// Serves until it is asked to stop, and then until everything is answered and nothing is
    /// left; at the second signal not that long.
    async fn live(self) -> ExitCode {
        let Self {
            stops,
            mut control,
            reloads,
            sidecars,
            cluster,
            reaper,
            activator,
            autoscaler,
            reports,
            pages,
            ready,
            _scraped,
            _workers,
        } = self;
        let stop = CancellationToken::new();
        let scaled = CancellationToken::new();
        let life = async {
            control
                .run(&cluster, &sidecars, reloads, stop.clone())
                .await;
            ready.send_replace(false);
            say_what_is_left(&activator.handle());
            // Whoever waits for a pod still gets one: cluster and autoscaler go on.
            let grace = control.longest_request() + DRAIN_SLACK;
            let drained = activator.drain(Duration::ZERO, grace).await;
            scaled.cancel();
            cluster.shutdown().await;
            pages.end().await;
            drained
        };
        // One task, so that a panic in any of them is the end of all, and not of one unseen.
        let all = async {
            let scaling = autoscaler.run(reports, scaled.clone());
            let ((), drained) = tokio::join!(scaling, life);
            if let Err(error) = reaper.finish().await {
                tracing::warn!(%error, "the reaper is lost");
            }
            drained
        };
        tokio::select! {
            drained = all => match drained {
                Drained::Clean => ExitCode::SUCCESS,
                Drained::Cut { left } => {
                    tracing::error!(left, "some connections had to be cut");
                    ExitCode::FAILURE
                }
                Drained::Died => ExitCode::FAILURE,
            },
            // Its end closes the reaper's pipe, and the reaper ends what is left.
            Second = stops.watch(stop.clone()) => ExitCode::FAILURE,
        }
    }
}

fn say_what_is_left(activator: &Handle) {
    let left = activator.revisions();
    let left: usize = left.iter().map(|load| load.waiting + load.in_flight).sum();
    if left > 0 {
        tracing::info!(
            left,
            "requests are still to be answered; a second signal drops them"
        );
    }
}
