//! `k6/crypto`: hashes, HMACs, random bytes.

use std::cell::RefCell;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Mac, SimpleHmac};
use rquickjs::class::{JsClass, Readable, Trace, Tracer};
use rquickjs::function::{Constructor, Params};
use rquickjs::{ArrayBuffer, Class, Ctx, IntoJs, JsLifetime, Object, Result, Value};
use sha2::Digest;

use super::body::bytes_of;
use super::{Builtin, absent, arg, here, methods, throw};
use crate::core::{Core, text};

pub(super) struct Crypto;

impl Builtin for Crypto {
    const EXPORTS: &'static [&'static str] = &[
        "md5",
        "sha1",
        "sha224",
        "sha256",
        "sha384",
        "sha512",
        "sha512_224",
        "sha512_256",
        "ripemd160",
        "hmac",
        "createHash",
        "createHMAC",
        "randomBytes",
    ];

    fn make<'js>(core: &Rc<Core>, ctx: &Ctx<'js>) -> Result<Object<'js>> {
        let object = Object::new(ctx.clone())?;
        methods(
            core,
            &object,
            &[
                ("md5", |_, params| whole(params, "md5")),
                ("sha1", |_, params| whole(params, "sha1")),
                ("sha224", |_, params| whole(params, "sha224")),
                ("sha256", |_, params| whole(params, "sha256")),
                ("sha384", |_, params| whole(params, "sha384")),
                ("sha512", |_, params| whole(params, "sha512")),
                ("sha512_224", |_, params| whole(params, "sha512_224")),
                ("sha512_256", |_, params| whole(params, "sha512_256")),
                ("ripemd160", |_, params| whole(params, "ripemd160")),
                ("hmac", hmac),
                ("createHash", create_hash),
                ("createHMAC", create_hmac),
                ("randomBytes", random_bytes),
            ],
        )?;
        Ok(object)
    }
}

fn digest<D>(data: &[u8], key: Option<&[u8]>) -> Option<Vec<u8>>
where
    D: Digest + hmac::digest::core_api::BlockSizeUser,
{
    let Some(key) = key else {
        return Some(D::digest(data).to_vec());
    };
    let mut mac = SimpleHmac::<D>::new_from_slice(key).ok()?;
    mac.update(data);
    Some(mac.finalize().into_bytes().to_vec())
}

/// A hash, or with a key its HMAC.
fn compute(ctx: &Ctx<'_>, algorithm: &str, data: &[u8], key: Option<&[u8]>) -> Result<Vec<u8>> {
    let found = match algorithm {
        "md5" => digest::<md5::Md5>(data, key),
        "sha1" => digest::<sha1::Sha1>(data, key),
        "sha224" => digest::<sha2::Sha224>(data, key),
        "sha256" => digest::<sha2::Sha256>(data, key),
        "sha384" => digest::<sha2::Sha384>(data, key),
        "sha512" => digest::<sha2::Sha512>(data, key),
        "sha512_224" => digest::<sha2::Sha512_224>(data, key),
        "sha512_256" => digest::<sha2::Sha512_256>(data, key),
        "ripemd160" => digest::<ripemd::Ripemd160>(data, key),
        _ => None,
    };
    found.ok_or_else(|| {
        throw(
            ctx,
            &format!("the hash '{algorithm}' is not supported: those of k6/crypto but md4 are"),
        )
    })
}

fn input(value: &Value<'_>) -> Result<Vec<u8>> {
    bytes_of(value)?.ok_or_else(|| throw(value.ctx(), "a string or an ArrayBuffer is to be hashed"))
}

fn shown<'js>(ctx: &Ctx<'js>, bytes: Vec<u8>, encoding: &Value<'js>) -> Result<Value<'js>> {
    let encoding = if absent(encoding) {
        "hex".into()
    } else {
        text(encoding)?
    };
    match encoding.as_str() {
        "hex" => bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into_js(ctx),
        "base64" => STANDARD.encode(bytes).into_js(ctx),
        "base64url" => URL_SAFE.encode(bytes).into_js(ctx),
        "base64rawurl" => URL_SAFE_NO_PAD.encode(bytes).into_js(ctx),
        "binary" => Ok(ArrayBuffer::new(ctx.clone(), bytes)?.into_value()),
        other => Err(throw(
            ctx,
            &format!(
                "the output encoding '{other}' is unknown: hex, base64, base64url, base64rawurl and binary are known"
            ),
        )),
    }
}

fn whole<'js>(params: &Params<'_, 'js>, algorithm: &str) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let bytes = compute(ctx, algorithm, &input(&arg(params, 0))?, None)?;
    shown(ctx, bytes, &arg(params, 1))
}

/// `hmac(algorithm, secret, data, outputEncoding)`
fn hmac<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let key = input(&arg(params, 1))?;
    let bytes = compute(
        ctx,
        &text(&arg(params, 0))?,
        &input(&arg(params, 2))?,
        Some(&key),
    )?;
    shown(ctx, bytes, &arg(params, 3))
}

fn random_bytes<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let count = arg(params, 0).get::<rquickjs::Coerced<f64>>()?.0;
    if !(1.0..=1e7).contains(&count) {
        return Err(throw(
            ctx,
            "randomBytes() wants a number of bytes, from 1 to 10,000,000",
        ));
    }
    let mut bytes = vec![0; count as usize];
    core.rng.borrow_mut().fill(&mut bytes);
    Ok(ArrayBuffer::new(ctx.clone(), bytes)?.into_value())
}

/// What `createHash()` and `createHMAC()` return: gathers data until `digest()`.
struct Hasher {
    algorithm: String,
    key: Option<Vec<u8>>,
    data: RefCell<Vec<u8>>,
}

#[expect(unsafe_code, reason = "holds nothing with the lifetime of the engine")]
unsafe impl JsLifetime<'_> for Hasher {
    type Changed<'to> = Hasher;
}

impl<'js> Trace<'js> for Hasher {
    fn trace(&self, _tracer: Tracer<'_, 'js>) {}
}

impl<'js> JsClass<'js> for Hasher {
    const NAME: &'static str = "Hasher";
    type Mutable = Readable;

    fn constructor(_ctx: &Ctx<'js>) -> Result<Option<Constructor<'js>>> {
        Ok(None)
    }

    fn prototype(ctx: &Ctx<'js>) -> Result<Option<Object<'js>>> {
        let object = Object::new(ctx.clone())?;
        methods(
            &here(ctx)?,
            &object,
            &[("update", update), ("digest", finish)],
        )?;
        Ok(Some(object))
    }
}

fn hasher<'js>(ctx: &Ctx<'js>, algorithm: &Value<'js>, key: Option<Vec<u8>>) -> Result<Value<'js>> {
    let algorithm = text(algorithm)?;
    compute(ctx, &algorithm, b"", None)?;
    let hasher = Hasher {
        algorithm,
        key,
        data: RefCell::default(),
    };
    Ok(Class::instance(ctx.clone(), hasher)?
        .into_inner()
        .into_value())
}

fn create_hash<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    hasher(params.ctx(), &arg(params, 0), None)
}

fn create_hmac<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    hasher(params.ctx(), &arg(params, 0), Some(input(&arg(params, 1))?))
}

fn this<'js>(params: &Params<'_, 'js>) -> Result<Class<'js, Hasher>> {
    Class::from_value(&params.this()).map_err(|_| throw(params.ctx(), "this is no hasher"))
}

fn update<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    this(params)?
        .borrow()
        .data
        .borrow_mut()
        .extend(input(&arg(params, 0))?);
    Ok(params.this())
}

fn finish<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let this = this(params)?;
    let hasher = this.borrow();
    let bytes = compute(
        params.ctx(),
        &hasher.algorithm,
        &hasher.data.borrow(),
        hasher.key.as_deref(),
    )?;
    shown(params.ctx(), bytes, &arg(params, 0))
}
