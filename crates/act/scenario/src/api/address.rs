//! What the `URL` of a script is made of: read and changed outside of the engine, as browsers have it.

use std::rc::Rc;

use rquickjs::function::Params;
use rquickjs::{Exception, Object, Result, Value};
use url::{Url, quirks};

use super::{absent, arg};
use crate::core::{Core, text};

/// `url(address, base?, part?, value?)`: the parts of the address, after one of them was set.
pub(super) fn read<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let (address, base, part) = (arg(params, 0), arg(params, 1), arg(params, 2));
    let written = text(&address)?;
    let parsed = if absent(&base) {
        Url::parse(&written)
    } else {
        Url::parse(&text(&base)?).and_then(|base| base.join(&written))
    };
    let mut url = parsed.map_err(|error| {
        let message = format!("invalid URL '{written}': {error}");
        Exception::throw_type(ctx, &message)
    })?;
    if !absent(&part) {
        set(&mut url, &text(&part)?, &text(&arg(params, 3))?);
    }
    let object = Object::new(ctx.clone())?;
    for (part, value) in [
        ("href", quirks::href(&url)),
        ("protocol", quirks::protocol(&url)),
        ("username", quirks::username(&url)),
        ("password", quirks::password(&url)),
        ("host", quirks::host(&url)),
        ("hostname", quirks::hostname(&url)),
        ("port", quirks::port(&url)),
        ("pathname", quirks::pathname(&url)),
        ("search", quirks::search(&url)),
        ("hash", quirks::hash(&url)),
    ] {
        object.set(part, value)?;
    }
    object.set("origin", quirks::origin(&url))?;
    Ok(object.into_value())
}

/// What cannot be set stays as it is, as in browsers.
fn set(url: &mut Url, part: &str, value: &str) {
    let _ = match part {
        "protocol" => quirks::set_protocol(url, value),
        "username" => quirks::set_username(url, value),
        "password" => quirks::set_password(url, value),
        "host" => quirks::set_host(url, value),
        "hostname" => quirks::set_hostname(url, value),
        "port" => quirks::set_port(url, value),
        "pathname" => {
            quirks::set_pathname(url, value);
            Ok(())
        }
        "search" => {
            quirks::set_search(url, value);
            Ok(())
        }
        "hash" => {
            quirks::set_hash(url, value);
            Ok(())
        }
        _ => Err(()),
    };
}
