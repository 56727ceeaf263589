//! Which admin API a command speaks to.
//!
//! What is said on the line counts first, then SLUICE_ADMIN, then a demo that runs, then the default address.

use super::{Client, Endpoint, Failure};
use crate::arguments::Reach;
use sluice_demo::running;
use std::path::PathBuf;

const DEFAULT: &str = "http://127.0.0.1:9080";

/// What the commands read of the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// SLUICE_ADMIN.
    pub(crate) admin: Option<String>,
    /// SLUICE_ADMIN_TOKEN.
    pub(crate) token: Option<String>,
    /// Where demos leave their notes.
    pub(crate) notes: Option<PathBuf>,
}

impl Environment {
    pub(crate) fn of_process() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            admin: variable("SLUICE_ADMIN"),
            token: variable("SLUICE_ADMIN_TOKEN"),
            notes: Some(running::folder()),
        }
    }
}

/// The client that these flags and this environment mean.
pub(crate) fn find(reach: &Reach, environment: &Environment) -> Result<Client, Failure> {
    let token = environment.token.clone();
    if let Some(data) = &reach.data {
        // Whoever may open the socket owns the process: it asks for no token.
        return Ok(Client::new(Endpoint::Socket(data.join("admin.sock")), None));
    }
    if let Some(url) = reach.admin.as_ref().or(environment.admin.as_ref()) {
        return Ok(Client::new(url.parse().map_err(Failure::Usage)?, token));
    }
    let demos = environment.notes.as_deref().map(running::find).unwrap_or_default();
    match demos.as_slice() {
        [] => Ok(Client::new(DEFAULT.parse().map_err(Failure::Usage)?, token)),
        [demo] => {
            let url = demo.admin.first().map_or(DEFAULT, String::as_str);
            // Its own token: a token of the environment is for another cluster.
            Ok(Client::new(
                url.parse().map_err(Failure::Usage)?,
                Some(demo.token.clone()),
            ))
        }
        several => {
            let urls: Vec<_> = several.iter().filter_map(|demo| demo.admin.first().cloned()).collect();
            Err(Failure::Usage(format!(
                "several demos run ({}): choose one by --admin URL and SLUICE_ADMIN_TOKEN, or end the others",
                urls.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn reach(admin: Option<&str>, data: Option<&str>) -> Reach {
        Reach {
            admin: admin.map(Into::into),
            data: data.map(Into::into),
            json: false,
        }
    }

    fn at(reach: &Reach, environment: &Environment) -> (String, Option<String>) {
        let client = find(reach, environment).unwrap();
        (client.endpoint().to_string(), client.token().map(Into::into))
    }

    #[test]
    fn the_line_counts_before_the_environment_and_that_before_a_demo() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let note = |pid| running::Running {
            pid,
            admin: vec![format!("http://127.0.0.1:{pid}")],
            token: "of-the-demo".into(),
        };
        let mut environment = Environment {
            admin: Some("http://env:1".into()),
            token: Some("mine".into()),
            notes: Some(folder.path().into()),
        };
        let first = running::announce(folder.path(), &note(1)).unwrap();
        let mine = Some("mine".to_owned());
        assert_eq!(
            at(&reach(Some("http://line:1"), None), &environment),
            ("http://line:1".into(), mine.clone())
        );
        assert_eq!(
            at(&reach(None, Some("/var/n1")), &environment),
            ("/var/n1/admin.sock".into(), None)
        );
        assert_eq!(
            at(&reach(None, None), &environment),
            ("http://env:1".into(), mine.clone())
        );
        environment.admin = None;
        assert_eq!(
            at(&reach(None, None), &environment),
            ("http://127.0.0.1:1".into(), Some("of-the-demo".into()))
        );
        let second = running::announce(folder.path(), &note(2)).unwrap();
        assert!(
            find(&reach(None, None), &environment)
                .unwrap_err()
                .to_string()
                .contains("several demos")
        );
        drop((first, second));
        assert_eq!(at(&reach(None, None), &environment), (DEFAULT.into(), mine));
    }
}
