//! The skeleton of a page.

use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

/// The common style.
const STYLE: &str = include_str!("style.css");

/// A page in one file, in English.
///
/// ```
/// use fcos_burn_page::Document;
/// use maud::html;
///
/// let page = Document { title: "Cats & dogs", style: "", script: None, body: html! { p { "Hello" } } };
/// assert!(page.html().contains("<title>Cats &amp; dogs</title>"));
/// ```
#[derive(Clone, Debug)]
pub struct Document<'a> {
    /// The title.
    pub title: &'a str,
    /// CSS in addition to the common style. It must come from the program, not from data.
    pub style: &'a str,
    /// JavaScript, which runs after the page is read. It must come from the program, not from data.
    pub script: Option<&'a str>,
    /// What the page shows.
    pub body: Markup,
}

impl Document<'_> {
    /// The page. Its content security policy forbids all network access and all scripts but its own.
    pub fn html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="Content-Security-Policy" content=(self.policy());
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) (PreEscaped(self.style)) }
                }
                body {
                    (self.body)
                    footer { p.quiet { "Written by fcos-burn " (env!("CARGO_PKG_VERSION")) "." } }
                    @if let Some(script) = self.script { script { (PreEscaped(script)) } }
                }
            }
        };
        page.into_string()
    }

    fn policy(&self) -> String {
        let script = match self.script {
            Some(script) => {
                let digest = STANDARD.encode(Sha256::digest(script.as_bytes()));
                format!("; script-src 'sha256-{digest}'")
            }
            None => String::new(),
        };
        format!("default-src 'none'; img-src data:; style-src 'unsafe-inline'{script}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'alert(1)' | openssl dgst -sha256 -binary | base64`
    #[test]
    fn only_the_own_script_may_run() {
        let page = Document {
            title: "<b>",
            style: "",
            script: Some("alert(1)"),
            body: html! {},
        };
        let html = page.html();
        assert!(html.contains("'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"));
        assert!(html.contains("<title>&lt;b&gt;</title>"));
        let silent = Document {
            script: None,
            ..page
        };
        assert!(!silent.html().contains("script"));
    }
}
