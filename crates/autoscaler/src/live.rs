//! ConfigMaps as files: a folder for each, a file for each key, as a volume of Kubernetes has them.
//!
//! A change is taken as soon as the system tells of it. One that is wrong is said once, and the
//! last good values stay.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use penstock_scaling::config::{BadValue, Config};
use tokio::sync::{Notify, watch};

/// Name of the ConfigMap that the autoscaler obeys.
const AUTOSCALER: &str = "config-autoscaler";

/// Why there are no values.
#[derive(Debug)]
pub enum BadConfig {
    /// Every value that is wrong.
    Values(Vec<BadValue>),
    /// The files cannot be read, or not be watched.
    Files(PathBuf, String),
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values(bad) => {
                let all: Vec<String> = bad.iter().map(ToString::to_string).collect();
                write!(f, "{AUTOSCALER}: {}", all.join("; "))
            }
            Self::Files(path, why) => write!(f, "{} cannot be used: {why}", path.display()),
        }
    }
}

impl std::error::Error for BadConfig {}

/// The values of `config-autoscaler`, as the files have them now and later.
#[derive(Debug)]
pub struct Live {
    folder: PathBuf,
    changed: Arc<Notify>,
    values: watch::Sender<Arc<Config>>,
    /// Watches as long as it is held.
    _watcher: RecommendedWatcher,
}

impl Live {
    /// Reads `folder/config-autoscaler` and watches it. A folder that is not there has no values.
    ///
    /// # Errors
    ///
    /// Every value that is wrong, or why the files cannot be read.
    pub fn open(folder: &Path) -> Result<Self, BadConfig> {
        let files =
            |error: &dyn fmt::Display| BadConfig::Files(folder.to_owned(), error.to_string());
        let changed = Arc::new(Notify::new());
        let told = Arc::clone(&changed);
        // An error is a lost event: it may have been ours.
        let mut watcher = notify::recommended_watcher(move |_| told.notify_one())
            .map_err(|error| files(&error))?;
        watcher
            .watch(folder, RecursiveMode::Recursive)
            .map_err(|error| files(&error))?;
        // Read after the watch began, so that no change falls in between.
        let config = read(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            changed,
            values: watch::Sender::new(Arc::new(config)),
            _watcher: watcher,
        })
    }

    /// The values of now and later.
    pub fn values(&self) -> watch::Receiver<Arc<Config>> {
        self.values.subscribe()
    }

    /// Follows the files, for as long as it is polled.
    pub async fn follow(self) {
        let mut last = String::new();
        loop {
            self.changed.notified().await;
            match read(&self.folder) {
                Ok(config) => {
                    last.clear();
                    self.values.send_if_modified(|known| {
                        let new = **known != config;
                        if new {
                            tracing::info!("{AUTOSCALER} has changed");
                            *known = Arc::new(config);
                        }
                        new
                    });
                }
                Err(bad) => {
                    let sentence = bad.to_string();
                    if sentence != last {
                        tracing::warn!("the last good values stay: {sentence}");
                        last = sentence;
                    }
                }
            }
        }
    }
}

fn read(folder: &Path) -> Result<Config, BadConfig> {
    let path = folder.join(AUTOSCALER);
    let map = map(&path).map_err(|error| BadConfig::Files(path.clone(), error.to_string()))?;
    Config::from_map(&map).map_err(BadConfig::Values)
}

/// The keys of one ConfigMap.
fn map(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(map),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // A volume has its versions in folders that begin with two dots.
        if name.starts_with("..") || !entry.path().is_file() {
            continue;
        }
        let text = fs::read_to_string(entry.path())?;
        // Whoever writes a file by hand ends it with a line.
        let value = text.strip_suffix('\n').unwrap_or(&text);
        map.insert(name, value.to_owned());
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    /// A folder of its own, gone with the value.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("penstock-live-{}-{next}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(path.join(AUTOSCALER)).unwrap();
            Self(path)
        }

        fn set(&self, key: &str, value: &str) {
            fs::write(self.0.join(AUTOSCALER).join(key), value).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn a_change_is_taken_and_a_wrong_one_leaves_the_last_good_values() {
        let folder = Folder::new();
        folder.set("stable-window", "40s\n");
        let live = Live::open(&folder.0).unwrap();
        let mut values = live.values();
        assert_eq!(values.borrow().stable_window, Duration::from_secs(40));
        let following = tokio::spawn(live.follow());
        folder.set("stable-window", "1s");
        folder.set("max-scale", "-7");
        folder.set("stable-window", "50s");
        folder.set("max-scale", "7");
        let right = |config: &Arc<Config>| {
            config.stable_window == Duration::from_secs(50) && config.max_scale == Some(7)
        };
        let seen = values.wait_for(right).await.unwrap().clone();
        assert_eq!(seen.max_scale, Some(7));
        following.abort();
    }

    /// Counts the warnings of this thread.
    #[derive(Clone, Default)]
    struct Warnings(Arc<AtomicU32>);

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Warnings {
        fn on_event(
            &self,
            event: &tracing::Event<'_>,
            _: tracing_subscriber::layer::Context<'_, S>,
        ) {
            if *event.metadata().level() == tracing::Level::WARN {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[tokio::test]
    async fn a_wrong_value_that_stays_is_said_once_and_the_last_good_ones_hold() {
        use tracing_subscriber::layer::SubscriberExt as _;
        // A warning that first comes while no thread listens may be taken for one nobody wants.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        let warnings = Warnings::default();
        let subscriber = tracing_subscriber::registry().with(warnings.clone());
        let _guard = tracing::subscriber::set_default(subscriber);
        let said = || warnings.0.load(Ordering::Relaxed);
        let folder = Folder::new();
        folder.set("stable-window", "40s");
        let live = Live::open(&folder.0).unwrap();
        let (values, changed) = (live.values(), Arc::clone(&live.changed));
        let mut following = std::pin::pin!(live.follow());
        folder.set("stable-window", "1s");
        // Events of the system come when they like; these come for certain.
        for _ in 0..3 {
            changed.notify_one();
            tokio::select! {
                biased;
                () = &mut following => panic!("it follows for ever"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(said(), 1);
        assert_eq!(values.borrow().stable_window, Duration::from_secs(40));
        folder.set("stable-window", "2s");
        changed.notify_one();
        tokio::select! {
            biased;
            () = &mut following => panic!("it follows for ever"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(said(), 2, "another mistake is told as well");
    }

    #[tokio::test]
    async fn at_first_every_wrong_value_is_told_at_once() {
        let folder = Folder::new();
        folder.set("stable-window", "1s");
        folder.set("max-scale", "-7");
        folder.set("_example", "nobody reads this");
        let bad = Live::open(&folder.0).unwrap_err().to_string();
        assert!(
            bad.contains("stable-window") && bad.contains("max-scale"),
            "{bad}"
        );
        assert!(Live::open(&folder.0.join("nowhere")).is_err());
    }
}
