//! Who may ask what is not for everybody: those who know `metrics-token`, shown as `Authorization: Bearer …`. The token is never
//! logged or shown, and compared in constant time.

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use super::Site;
use super::endpoints::{Page, failed};
use crate::app::users::PasswordDigest;

/// Whether a request shows the token.
///
/// # Errors
/// 403 where no token is set, since nobody may then; 401 for none or a wrong one.
pub(super) fn check(site: &Site, headers: &HeaderMap) -> Result<(), Box<Page>> {
    let settings = site.app.settings.read();
    let Some(token) = &settings.metrics_token else {
        return Err(failed(StatusCode::FORBIDDEN, "this needs a token: set metrics-token or metrics-token-file").into());
    };
    // Digests are of one length, whatever was sent.
    let expected = PasswordDigest::of(token.expose().as_bytes());
    if headers.get(AUTHORIZATION).and_then(bearer).is_some_and(|shown| PasswordDigest::of(shown) == expected) {
        return Ok(());
    }
    site.app.metrics.token_failures.increment();
    let mut page = failed(StatusCode::UNAUTHORIZED, "expected the header Authorization: Bearer and metrics-token");
    page.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sojourn\""));
    Err(page.into())
}

/// The token of `Bearer token`, the scheme in any case.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_has_a_token() {
        let of = |text: &'static str| bearer(&HeaderValue::from_static(text)).map(<[u8]>::to_vec);
        for text in ["Bearer t0", "bearer  t0", "BEARER t0 "] {
            assert_eq!(of(text).as_deref(), Some(&b"t0"[..]), "{text}");
        }
        for text in ["", "Basic t0", "t0", "Bearer"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
