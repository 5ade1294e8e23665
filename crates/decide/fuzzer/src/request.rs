//! A request as it is sent.

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Address or path, with its query.
    pub url: String,
    /// In order.
    pub headers: Vec<(String, String)>,
    /// Any bytes.
    pub body: Vec<u8>,
}

impl Request {
    /// Value of a header, whatever the case of its name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Where the path begins and where it ends, in the address.
    pub(crate) fn path(&self) -> (usize, usize) {
        let before = self.url.find("://").filter(|_| !self.url.starts_with('/'));
        let host = before.map_or(0, |at| at + 3);
        let end = self.url[host..].find(['?', '#']);
        let end = end.map_or(self.url.len(), |at| host + at);
        let begin = match host {
            0 => 0,
            _ => self.url[host..end].find('/').map_or(end, |at| host + at),
        };
        (begin, end)
    }

    /// What lies between two parts of a body of several, when it is one.
    pub(crate) fn boundary(&self) -> Option<String> {
        let kind = self.header("content-type")?;
        if !kind.to_ascii_lowercase().starts_with("multipart/") {
            return None;
        }
        let at = kind.to_ascii_lowercase().find("boundary=")? + "boundary=".len();
        let value = kind[at..].split(';').next().unwrap_or_default().trim();
        let value = value.trim_matches('"');
        (!value.is_empty()).then(|| value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_found_in_addresses() {
        let of = |url: &str| {
            let request = Request {
                url: url.to_owned(),
                ..Request::default()
            };
            let (begin, end) = request.path();
            request.url[begin..end].to_owned()
        };
        assert_eq!(of("http://a:80/x/y?z=/1"), "/x/y");
        assert_eq!(of("/x?u=http://b/"), "/x");
        assert_eq!(of("http://a"), "");
    }
}
