//! How a pod's program is started: its words, its variables, where it is found.

use std::path::{Path, PathBuf};

use crate::Workload;
use crate::expand::expand;
use crate::reaper::MARKER;

/// Everything about a program that is the same each time it is started in one pod.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// Program and arguments, expanded.
    pub(crate) words: Vec<String>,
    /// All its variables; of a name that comes twice, the last counts.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) dir: Option<PathBuf>,
}

impl Launch {
    /// Of `workload` on `port`. `base` is what every program gets (`PATH` and the like),
    /// `up_id` the mark by which the reaper knows its own.
    ///
    /// The manifest's values may refer to earlier ones and to those of the runtime contract,
    /// not to `base`, as in a container; the contract's win over the manifest's.
    pub(crate) fn new(
        workload: &Workload,
        base: &[(String, String)],
        up_id: Option<&str>,
        port: u16,
    ) -> Self {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut known = vec![
            own("PORT", &port.to_string()),
            own("K_SERVICE", &workload.service),
            own("K_CONFIGURATION", &workload.configuration),
            own("K_REVISION", workload.revision.name()),
        ];
        let contract = known.clone();
        for (name, value) in &workload.env {
            let value = expand(value, |name| find(&known, name));
            known.push((name.clone(), value));
        }
        known.extend(contract);
        let words = workload.command.iter().chain(&workload.args);
        let words = words
            .map(|word| expand(word, |name| find(&known, name)))
            .collect();
        let mut env = base.to_vec();
        env.append(&mut known);
        env.extend(up_id.map(|id| own(MARKER, id)));
        Self {
            words,
            env,
            dir: workload.working_dir.clone(),
        }
    }

    /// The same surroundings for another command, such as that of a probe.
    pub(crate) fn with_words(&self, words: &[String]) -> Self {
        let words = words
            .iter()
            .map(|word| expand(word, |name| find(&self.env, name)))
            .collect();
        Self {
            words,
            ..self.clone()
        }
    }

    /// The program as something to execute without a further search.
    ///
    /// The search is made here because the standard library can only use the quick way to
    /// start a process (`posix_spawn`) when it is given a path.
    ///
    /// # Errors
    ///
    /// What is missing, in a phrase for a person.
    pub(crate) fn program(&self) -> Result<PathBuf, String> {
        let Some(program) = self.words.first() else {
            return Err("there is no command".to_owned());
        };
        if let Some(dir) = &self.dir
            && !dir.is_dir()
        {
            return Err(format!(
                "the working directory {} is not there",
                dir.display()
            ));
        }
        if program.contains('/') {
            return Ok(PathBuf::from(program));
        }
        let path = find(&self.env, "PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin");
        path.split(':')
            .filter(|folder| !folder.is_empty())
            .map(|folder| self.absolute(Path::new(folder)).join(program))
            .find(|candidate| is_program(candidate))
            .ok_or_else(|| format!("{program:?} is not found in PATH ({path})"))
    }

    fn absolute(&self, folder: &Path) -> PathBuf {
        match &self.dir {
            Some(dir) => dir.join(folder),
            None => folder.to_owned(),
        }
    }
}

/// Whether `path` is a file that somebody may execute.
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn find<'e>(env: &'e [(String, String)], name: &str) -> Option<&'e str> {
    let (_, value) = env.iter().rev().find(|(known, _)| known == name)?;
    Some(value)
}
