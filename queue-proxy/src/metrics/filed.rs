//! What a request is filed under: all that any of its series differ in.

use std::net::SocketAddr;

use http::{StatusCode, Version};
use penstock_runtime::metrics::{self, MAX_LABEL_VALUE, Outcome};

/// A request's row, borrowed.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Labels<'a> {
    /// Of the fixed set of method names; `None` where no series has it.
    pub(super) method: Option<&'static str>,
    pub(super) version: Version,
    /// What the caller got.
    pub(super) status: StatusCode,
    /// Why the container did not answer, if it did not.
    pub(super) failed: Option<&'static str>,
    /// As in the Host header. Empty where no series has it.
    pub(super) host: &'a str,
    pub(super) tag: Tag<&'a str>,
    /// The container that it reached.
    pub(super) container: Option<SocketAddr>,
    /// Whether it is a probe, which only its exchange with the container counts.
    pub(super) probe: bool,
    /// Whether the answer broke off.
    pub(super) broken: bool,
    /// Whether it came over TLS.
    pub(super) tls: bool,
}

/// `kn.route.tag` (spec/queue-proxy.md §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tag<T> {
    Disabled,
    Default,
    Undefined,
    Named(T),
    /// Of a set that has no room of its own.
    Overflow,
}

/// A request's row, owned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Filed {
    /// `None` where no series has it, or where there is no room to tell them apart.
    pub(super) method: Option<&'static str>,
    pub(super) version: Version,
    pub(super) status: StatusCode,
    pub(super) failed: Option<&'static str>,
    /// `None` where there is no room to tell them apart.
    pub(super) host: Option<Box<str>>,
    pub(super) tag: Tag<Box<str>>,
    /// Whether it reached the container.
    pub(super) reached: bool,
    /// Which, until that is gone.
    pub(super) container: Option<SocketAddr>,
    pub(super) probe: bool,
    pub(super) broken: bool,
    pub(super) tls: bool,
}

impl<'a> Labels<'a> {
    /// The same for series that tell neither hosts nor methods.
    pub(super) fn classic(self) -> Self {
        Self {
            method: None,
            version: Version::HTTP_11,
            failed: None,
            host: "",
            tls: false,
            ..self
        }
    }

    fn filed(&self, host: Option<&'a str>, tag: Tag<&'a str>) -> Filed {
        Filed {
            method: self.method,
            version: self.version,
            status: self.status,
            failed: self.failed,
            host: host.map(Into::into),
            tag: match tag {
                Tag::Named(tag) => Tag::Named(tag.into()),
                Tag::Disabled => Tag::Disabled,
                Tag::Default => Tag::Default,
                Tag::Undefined => Tag::Undefined,
                Tag::Overflow => Tag::Overflow,
            },
            reached: self.container.is_some(),
            container: self.container,
            probe: self.probe,
            broken: self.broken,
            tls: self.tls,
        }
    }
}

impl metrics::Labels for Labels<'_> {
    type Key = Filed;

    #[inline]
    fn is(&self, filed: &Filed) -> bool {
        let same_tag = match (&self.tag, &filed.tag) {
            (Tag::Disabled, Tag::Disabled)
            | (Tag::Default, Tag::Default)
            | (Tag::Undefined, Tag::Undefined) => true,
            (Tag::Named(mine), Tag::Named(other)) => **mine == **other,
            _ => false,
        };
        same_tag
            && self.status == filed.status
            && self.method == filed.method
            && filed.host.as_deref() == Some(self.host)
            && self.version == filed.version
            && self.failed == filed.failed
            && self.container == filed.container
            && self.container.is_some() == filed.reached
            && self.probe == filed.probe
            && self.broken == filed.broken
            && self.tls == filed.tls
    }

    fn key(&self) -> Option<Filed> {
        let long = |text: &str| text.len() > MAX_LABEL_VALUE;
        let too_long = long(self.host) || matches!(self.tag, Tag::Named(tag) if long(tag));
        (!too_long).then(|| self.filed(Some(self.host), self.tag))
    }

    /// Without what callers choose freely; the other side's series can still be told apart.
    fn overflow(&self) -> Filed {
        let tag = match self.tag {
            Tag::Named(_) => Tag::Overflow,
            fixed => fixed,
        };
        self.filed(None, tag)
    }

    /// Only what the callers got.
    fn rest(&self) -> Filed {
        Filed {
            method: None,
            version: Version::HTTP_11,
            failed: None,
            tls: false,
            ..self.filed(None, Tag::Overflow)
        }
    }
}

impl<T: AsRef<str>> Tag<T> {
    /// The label's value; `None` if there is no room for it.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Disabled => Some("kn:disabled"),
            Self::Default => Some("kn:default"),
            Self::Undefined => Some("kn:undefined"),
            Self::Named(tag) => Some(tag.as_ref()),
            Self::Overflow => None,
        }
    }
}

impl Filed {
    /// What came of it at the container.
    pub(super) fn outcome(&self) -> Outcome {
        self.failed
            .map_or(Outcome::Status(self.status), Outcome::Error)
    }

    /// The status of the container's own series.
    pub(super) fn status_of_run(&self) -> StatusCode {
        if self.broken {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            self.status
        }
    }

    /// Filed anew once `container` is gone.
    pub(super) fn without(&self, container: SocketAddr) -> Self {
        Self {
            container: self.container.filter(|own| *own != container),
            ..self.clone()
        }
    }
}
