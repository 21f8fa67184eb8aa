//! What was found.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// May be in the way.
    Warn,
    /// Is in the way.
    Fail,
}

impl Level {
    /// As it is said.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at, in a word.
    pub(super) topic: &'static str,
    pub(super) text: String,
    /// What can be done about it.
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(topic: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, topic, text: text.into(), remedy: None }
    }

    pub(super) fn warn(topic: &'static str, text: impl Into<String>, remedy: Option<String>) -> Self {
        Self { level: Level::Warn, topic, text: text.into(), remedy }
    }

    pub(super) fn fail(topic: &'static str, text: impl Into<String>, remedy: Option<String>) -> Self {
        Self { level: Level::Fail, topic, text: text.into(), remedy }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:4}  {:12}  {}", self.level.name(), self.topic, self.text)?;
        match &self.remedy {
            Some(remedy) => write!(formatter, ": {remedy}"),
            None => Ok(()),
        }
    }
}
