//! From files to what is wanted: manifests, settings, and every mistake in them at once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use penstock_activator::CHOICES;
use penstock_scaling::annotation;
use penstock_scaling::config::Config;
use penstock_serving::{AnnotationRules, Fault, Manifests, Problem, Source};

use super::images::Images;

/// Most that is read of one file, in bytes: one more than a manifest may have, so that it is
/// its reader who says that it is too long.
const MOST: u64 = (4 << 20) + 1;

/// The files that were named on the command line.
#[derive(Debug)]
pub(crate) struct Input {
    manifests: Vec<Named>,
    config: Option<Named>,
    images: Images,
}

#[derive(Debug)]
struct Named {
    /// As it is shown in sentences.
    name: String,
    path: PathBuf,
    /// Text of what can be read only once: standard input, and pipes such as a shell's `<(...)`.
    kept: Option<Arc<str>>,
}

/// All that the files ask for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) manifests: Manifests,
    pub(crate) config: Arc<Config>,
}

impl Input {
    /// `-` is standard input.
    pub(crate) fn new(files: &[PathBuf], config: Option<&PathBuf>, images: Images) -> Self {
        Self {
            manifests: files.iter().map(|path| Named::new(path)).collect(),
            config: config.map(|path| Named::new(path)),
            images,
        }
    }

    pub(crate) fn images(&self) -> &Images {
        &self.images
    }

    /// Files that can change.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let all = self.manifests.iter().chain(&self.config);
        let lasting = all.filter(|named| named.kept.is_none());
        lasting.map(|named| named.path.clone()).collect()
    }

    /// Reads everything, again if need be.
    ///
    /// # Errors
    ///
    /// One sentence for each mistake in each file.
    pub(crate) fn read(&mut self) -> Result<Wanted, Vec<String>> {
        self.read_and(Self::unknown_images)
    }

    /// As [`Input::read`], for whoever does not run the images and need not know them.
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn read_only(&mut self) -> Result<Wanted, Vec<String>> {
        self.read_and(|_, _| Vec::new())
    }

    /// Reads everything; `check_too` finds what else is wrong with the manifests of one or all files.
    fn read_and(
        &mut self,
        check_too: impl Fn(&Self, &Manifests) -> Vec<String>,
    ) -> Result<Wanted, Vec<String>> {
        let mut mistakes = Vec::new();
        let config = match &mut self.config {
            Some(named) => read_config(named).unwrap_or_else(|mut wrong| {
                mistakes.append(&mut wrong);
                None
            }),
            None => read_settings(BTreeMap::new()).ok(),
        };
        let config = Arc::new(config.unwrap_or_default());
        let mut texts = Vec::new();
        for named in &mut self.manifests {
            match named.read() {
                Ok(text) => texts.push((named.name.clone(), text)),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        let sources: Vec<Source<'_>> = texts
            .iter()
            .map(|(name, text)| Source { name, text })
            .collect();
        let known: Vec<&str> = annotation::spellings().chain(CHOICES).collect();
        let rules = AnnotationRules {
            check: &|annotations| {
                let mut rejected = annotation::validate_alone(annotations, &config);
                rejected.extend(penstock_activator::rejected(annotations));
                rejected
            },
            known: &known,
        };
        let mut manifests = Manifests::default();
        if !sources.is_empty() {
            match penstock_serving::read(&sources, rules) {
                Ok(all) => {
                    mistakes.extend(check_too(self, &all));
                    manifests = all;
                }
                Err(refused) => {
                    // A misspelt field is often why another is missing.
                    for warning in &refused.warnings {
                        tracing::warn!("{warning}");
                    }
                    mistakes.extend(refused.errors.iter().map(Problem::to_string));
                    // The images of the files that can be read are no secret for that.
                    let alone = sources.iter();
                    let alone = alone.map(|source| penstock_serving::read(&[*source], rules));
                    for one in alone.flatten() {
                        mistakes.extend(check_too(self, &one));
                    }
                }
            }
        }
        if mistakes.is_empty() {
            Ok(Wanted { manifests, config })
        } else {
            Err(mistakes)
        }
    }

    fn unknown_images(&self, manifests: &Manifests) -> Vec<String> {
        let of_one = |configuration: &penstock_serving::Configuration| {
            let container = &configuration.template.container;
            let image = container.image.as_ref()?;
            if !container.command.is_empty() || self.images.command(image).is_some() {
                return None;
            }
            let mark = configuration.image_at.as_ref()?;
            let problem = Problem {
                place: mark.place.clone(),
                path: mark.path.clone(),
                fault: Fault::Wrong {
                    value: format!("{image:?}"),
                    expected: Images::expected(image),
                },
            };
            Some(problem.to_string())
        };
        manifests.configurations.iter().filter_map(of_one).collect()
    }
}

impl Named {
    fn new(path: &Path) -> Self {
        let name = match path.to_str() {
            Some("-") => "standard input".to_owned(),
            _ => path.display().to_string(),
        };
        Self {
            name,
            path: path.to_owned(),
            kept: None,
        }
    }

    fn read(&mut self) -> Result<Arc<str>, String> {
        if let Some(kept) = &self.kept {
            return Ok(Arc::clone(kept));
        }
        let (text, lasting) = if self.path.as_os_str() == "-" {
            (read(io::stdin().lock()), false)
        } else {
            let file = File::open(&self.path);
            let lasting = file.as_ref().is_ok_and(is_regular);
            (file.and_then(read), lasting)
        };
        let text: Arc<str> = match text {
            Ok(text) => text.into(),
            Err(error) => return Err(format!("cannot read {}: {}", self.name, reason(&error))),
        };
        if !lasting {
            self.kept = Some(Arc::clone(&text));
        }
        Ok(text)
    }
}

fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|about| about.is_file())
}

fn read(from: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not be read".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory; name the files in it".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    }
}

fn read_config(named: &mut Named) -> Result<Option<Config>, Vec<String>> {
    let text = named.read().map_err(|mistake| vec![mistake])?;
    let source = Source {
        name: &named.name,
        text: &text,
    };
    let settings = penstock_serving::settings(source).map_err(|problems| {
        let sentences = problems.iter().map(Problem::to_string);
        sentences.collect::<Vec<String>>()
    })?;
    read_settings(settings).map(Some).map_err(|mistakes| {
        let sentences = mistakes.into_iter();
        sentences
            .map(|mistake| format!("{}: {mistake}", named.name))
            .collect()
    })
}

/// The settings, over the defaults of this command: nothing runs that nobody asked for.
fn read_settings(mut settings: BTreeMap<String, String>) -> Result<Config, Vec<String>> {
    const INITIAL: &str = "initial-scale";
    const ALLOW_ZERO: &str = "allow-zero-initial-scale";
    let allow = settings
        .entry(ALLOW_ZERO.to_owned())
        .or_insert_with(|| "true".to_owned());
    if allow.trim() != "false" {
        settings
            .entry(INITIAL.to_owned())
            .or_insert_with(|| "0".to_owned());
    }
    Config::from_map(&settings).map_err(|bad| bad.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests;
