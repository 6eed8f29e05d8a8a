//! What could be reached from here. Credentials are looked for, never read or used: that they are there is an input of
//! the choice, what they allow is found out by who executes it.

use crate::domain::surroundings::Reach;
use std::path::{Path, PathBuf};

/// The environment and home folder of this process; a test gives its own.
pub struct Environment<'a> {
    /// Reads a variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The home folder.
    pub home: Option<PathBuf>,
}

/// Looks in the environment of this process.
#[must_use]
pub fn probe() -> Reach {
    let variable = |name: &str| std::env::var(name).ok();
    look(&Environment { variable: &variable, home: std::env::home_dir() })
}

/// Looks in the given environment.
#[must_use]
pub fn look(environment: &Environment<'_>) -> Reach {
    let kubeconfig = environment.set(&["KUBECONFIG"]).or_else(|| environment.file(".kube/config"));
    let inside = environment.set(&["KUBERNETES_SERVICE_HOST"]).map(|_| "runs inside a cluster".to_owned());
    let aws = ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
    let azure = ["AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"];
    let gcp = ["GOOGLE_APPLICATION_CREDENTIALS"];
    Reach {
        kubernetes: inside.or(kubeconfig),
        aws: environment.set(&aws).or_else(|| environment.file(".aws/credentials")),
        azure: environment.set(&azure).or_else(|| environment.file(".azure/azureProfile.json")),
        gcp: environment.set(&gcp).or_else(|| environment.file(".config/gcloud/application_default_credentials.json")),
    }
}

impl Environment<'_> {
    /// The first of these variables that is set.
    fn set(&self, names: &[&str]) -> Option<String> {
        let name = names.iter().find(|name| (self.variable)(name).is_some_and(|value| !value.is_empty()))?;
        Some(format!("{name} is set"))
    }

    fn file(&self, below_home: &str) -> Option<String> {
        let path = self.home.as_deref().map(|home: &Path| home.join(below_home))?;
        path.is_file().then(|| format!("~/{below_home} is there"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_configured_is_nothing_in_reach() {
        assert_eq!(look(&Environment { variable: &|_| None, home: None }), Reach::default());
    }

    #[test]
    fn variables_and_files_are_named_and_never_their_content() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join(".kube")).unwrap();
        std::fs::write(home.path().join(".kube/config"), "secret").unwrap();
        let variable = |name: &str| (name == "AWS_ACCESS_KEY_ID").then(|| "AKIA-SECRET".to_owned());
        let reach = look(&Environment { variable: &variable, home: Some(home.path().to_owned()) });
        assert_eq!(reach.kubernetes.as_deref(), Some("~/.kube/config is there"));
        assert_eq!(reach.aws.as_deref(), Some("AWS_ACCESS_KEY_ID is set"));
        assert_eq!((reach.azure, reach.gcp), (None, None));
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let variable = |_: &str| Some(String::new());
        assert_eq!(look(&Environment { variable: &variable, home: None }), Reach::default());
    }
}
