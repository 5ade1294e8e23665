//! Libraries that scripts import from the network by habit: what is used most of them is built in, so that a script runs
//! unchanged and without a network. Written for Cohort; each stands for every version of its namesake.

/// A library that is built in.
pub(crate) struct Library {
    name: &'static str,
    /// What can be imported, beside `default`.
    pub(crate) exports: &'static [&'static str],
    pub(crate) source: &'static str,
}

/// What the names of their modules begin with; frames in them are not the script's.
const PREFIX: &str = "cohort:jslib/";
/// Where they are imported from, with and without a scheme.
const HOST: &str = "jslib.k6.io/";
const HTML: &str = "html";
const HTML_MODULE: &str = "k6/html";
const REPORTER: &str = "raw.githubusercontent.com/benc-uk/k6-reporter/";

const LIBRARIES: [Library; 10] = [
    Library {
        name: "formdata",
        exports: &["FormData"],
        source: include_str!("jslib/formdata.js"),
    },
    Library {
        name: "html",
        exports: &["parseHTML", "Selection", "Element"],
        source: include_str!("jslib/html.js"),
    },
    Library {
        name: "httpx",
        exports: &[
            "Httpx", "Request", "Get", "Head", "Post", "Put", "Delete", "Connect", "Options",
            "Trace", "Patch",
        ],
        source: include_str!("jslib/httpx.js"),
    },
    Library {
        name: "k6-reporter",
        exports: &["htmlReport"],
        source: include_str!("jslib/k6-reporter.js"),
    },
    Library {
        name: "k6-summary",
        exports: &["humanizeValue", "textSummary", "jUnit"],
        source: include_str!("jslib/k6-summary.js"),
    },
    Library {
        name: "k6-utils",
        exports: &[
            "check",
            "findBetween",
            "getCurrentStageIndex",
            "normalDistributionStages",
            "parseDuration",
            "randomIntBetween",
            "randomItem",
            "randomString",
            "tagWithCurrentStageIndex",
            "tagWithCurrentStageProfile",
            "uuidv4",
        ],
        source: include_str!("jslib/k6-utils.js"),
    },
    Library {
        name: "k6chaijs",
        exports: &[
            "expect",
            "describe",
            "config",
            "Assertion",
            "AssertionError",
        ],
        source: include_str!("jslib/k6chaijs.js"),
    },
    Library {
        name: "papaparse",
        exports: &["parse", "unparse"],
        source: include_str!("jslib/papaparse.js"),
    },
    Library {
        name: "totp",
        exports: &["TOTP"],
        source: include_str!("jslib/totp.js"),
    },
    Library {
        name: "url",
        exports: &["URL", "URLSearchParams"],
        source: include_str!("jslib/url.js"),
    },
];

impl Library {
    /// Name of its module.
    pub(crate) fn module(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }
}

fn named(name: &str) -> Option<&'static Library> {
    LIBRARIES.iter().find(|library| library.name == name)
}

fn without_scheme(url: &str) -> &str {
    url.strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
        .unwrap_or(url)
}

/// The library that an import from `https://jslib.k6.io/NAME/VERSION/index.js` means, if it is built in.
pub(crate) fn of_url(url: &str) -> Option<&'static Library> {
    if url == HTML_MODULE {
        return Some(html());
    }
    let address = without_scheme(url);
    if address.starts_with(REPORTER) {
        return named("k6-reporter");
    }
    let mut parts = address.strip_prefix(HOST)?.split('/');
    let (name, _version, file) = (parts.next()?, parts.next()?, parts.next()?);
    named(name)
        .filter(|library| library.name != HTML && file == "index.js" && parts.next().is_none())
}

/// The library that a module's name means.
pub(crate) fn of_module(name: &str) -> Option<&'static Library> {
    named(name.strip_prefix(PREFIX)?)
}

/// What reads pages: `k6/html`, and what the methods of responses need that do.
pub(crate) fn html() -> &'static Library {
    match named(HTML) {
        Some(library) => library,
        None => unreachable!("it is one of them"),
    }
}

/// Whether a method of this name reads pages.
pub(crate) fn reads_pages(method: &str) -> bool {
    ["html", "submitForm", "clickLink"].contains(&method)
}

/// What is said of an import from the network that is not built in.
pub(crate) fn refusal(url: &str) -> String {
    let names = LIBRARIES.iter().map(|library| library.name);
    let built_in: Vec<&str> = names.filter(|name| *name != HTML).collect();
    format!(
        "'{url}' is on the network, from where nothing is imported: download it beside the script and import the local file; of \
         the usual libraries there are: {}",
        built_in.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_a_library_is_known_by_its_address() {
        for (url, name) in [
            (
                "https://jslib.k6.io/k6-utils/1.4.0/index.js",
                Some("k6-utils"),
            ),
            (
                "http://jslib.k6.io/k6-utils/1.0.0/index.js",
                Some("k6-utils"),
            ),
            ("jslib.k6.io/k6-summary/0.0.1/index.js", Some("k6-summary")),
            (
                "https://raw.githubusercontent.com/benc-uk/k6-reporter/2.4.0/dist/bundle.js",
                Some("k6-reporter"),
            ),
            ("https://jslib.k6.io/aws/0.11.0/s3.js", None),
            ("https://jslib.k6.io/k6-utils/1.4.0/other.js", None),
            ("https://example.com/k6-utils/1.4.0/index.js", None),
        ] {
            assert_eq!(of_url(url).map(|library| library.name), name, "{url}");
        }
    }
}
