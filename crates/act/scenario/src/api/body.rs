//! Bodies of requests: text, bytes, forms, forms with files; and their compression.

use std::io::{Read, Write};
use std::rc::Rc;

use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use rquickjs::function::Params;
use rquickjs::{ArrayBuffer, Ctx, Object, Result, TypedArray, Value};

use super::{absent, arg, throw};
use crate::core::{Core, text};

/// Marks the objects that `http.file()` makes.
const FILE_MARK: &str = "__file";

/// A body and the `Content-Type` that it brings along.
#[derive(Default)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) content_type: Option<String>,
}

/// The bytes of a string, an `ArrayBuffer` or a view of one; `None` for anything else.
pub(crate) fn bytes_of(value: &Value<'_>) -> Result<Option<Vec<u8>>> {
    if value.is_string() {
        return Ok(Some(text(value)?.into_bytes()));
    }
    let Some(object) = value.as_object() else {
        return Ok(None);
    };
    if let Some(buffer) = ArrayBuffer::from_object(object.clone()) {
        return Ok(Some(copy(&buffer)));
    }
    if let Ok(view) = TypedArray::<u8>::from_object(object.clone()) {
        let buffer = view.arraybuffer()?;
        let at: usize = view.as_object().get("byteOffset")?;
        return Ok(Some(
            copy(&buffer)
                .get(at..at + view.len())
                .unwrap_or_default()
                .to_vec(),
        ));
    }
    Ok(None)
}

fn copy(buffer: &ArrayBuffer<'_>) -> Vec<u8> {
    #[expect(unsafe_code, reason = "no JavaScript runs while the bytes are copied")]
    let bytes = unsafe { buffer.as_bytes() };
    bytes.map(<[u8]>::to_vec).unwrap_or_default()
}

impl Body {
    pub(super) fn of<'js>(core: &Core, value: &Value<'js>) -> Result<Self> {
        if absent(value) {
            return Ok(Self::default());
        }
        if let Some(bytes) = bytes_of(value)? {
            return Ok(Self {
                bytes,
                content_type: None,
            });
        }
        match value.as_object() {
            Some(object) if !value.is_array() => form(core, object),
            Some(_) => Err(throw(
                value.ctx(),
                "the body of a request is a string, an ArrayBuffer or an object of form fields, not an array: use JSON.stringify()",
            )),
            None => Ok(Self {
                bytes: text(value)?.into_bytes(),
                content_type: None,
            }),
        }
    }
}

enum Field<'js> {
    Text(String),
    File(Object<'js>),
}

fn form<'js>(core: &Core, object: &Object<'js>) -> Result<Body> {
    let mut fields: Vec<(String, Field<'js>)> = Vec::new();
    for property in object.props::<String, Value<'js>>() {
        let (name, value) = property?;
        match value.as_object() {
            Some(file) if file.contains_key(FILE_MARK)? => {
                fields.push((name, Field::File(file.clone())));
            }
            _ if value.is_array() => {
                for element in value
                    .as_array()
                    .into_iter()
                    .flat_map(|array| array.iter::<Value<'js>>())
                {
                    fields.push((name.clone(), Field::Text(text(&element?)?)));
                }
            }
            _ => fields.push((name, Field::Text(text(&value)?))),
        }
    }
    if fields
        .iter()
        .any(|(_, field)| matches!(field, Field::File(_)))
    {
        return multipart(core, fields);
    }
    // As Go does: by name.
    fields.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, field) in &fields {
        if let Field::Text(value) = field {
            form.append_pair(name, value);
        }
    }
    Ok(Body {
        bytes: form.finish().into_bytes(),
        content_type: Some("application/x-www-form-urlencoded".into()),
    })
}

fn multipart(core: &Core, fields: Vec<(String, Field<'_>)>) -> Result<Body> {
    let mut random = [0; 30];
    core.rng.borrow_mut().fill(&mut random);
    let boundary: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut bytes = Vec::new();
    let quoted = |name: &str| name.replace('\\', "\\\\").replace('"', "\\\"");
    for (name, field) in fields {
        let name = quoted(&name);
        bytes.extend_from_slice(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes(),
        );
        match field {
            Field::Text(value) => {
                bytes.extend_from_slice(format!("\r\n\r\n{value}\r\n").as_bytes());
            }
            Field::File(file) => {
                let file_name: String = file.get("filename")?;
                let kind: String = file.get("content_type")?;
                let head = format!(
                    "; filename=\"{}\"\r\nContent-Type: {kind}\r\n\r\n",
                    quoted(&file_name)
                );
                bytes.extend_from_slice(head.as_bytes());
                bytes.extend_from_slice(&bytes_of(&file.get("data")?)?.unwrap_or_default());
                bytes.extend_from_slice(b"\r\n");
            }
        }
    }
    bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(Body {
        bytes,
        content_type: Some(format!("multipart/form-data; boundary={boundary}")),
    })
}

/// `http.file(data, filename, contentType)`
pub(super) fn file<'js>(core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let ctx = params.ctx();
    let data = arg(params, 0);
    if bytes_of(&data)?.is_none() {
        return Err(throw(
            ctx,
            "http.file() wants a string or an ArrayBuffer as its first argument",
        ));
    }
    let object = Object::new(ctx.clone())?;
    let (name, kind) = (arg(params, 1), arg(params, 2));
    let name = if absent(&name) {
        core.now_us.get().to_string()
    } else {
        text(&name)?
    };
    let kind = if absent(&kind) {
        "application/octet-stream".into()
    } else {
        text(&kind)?
    };
    object.set("data", data)?;
    object.set("filename", name)?;
    object.set("content_type", kind)?;
    object.prop(FILE_MARK, true)?;
    Ok(object.into_value())
}

/// Compresses a body as the parameter `compression` of a request says; returns the `Content-Encoding`.
pub(super) fn compress(ctx: &Ctx<'_>, body: &mut Vec<u8>, how: &str) -> Result<String> {
    let mut names = Vec::new();
    for name in how.split(',').map(str::trim) {
        let packed = match name {
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
            "deflate" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
            other => {
                return Err(throw(
                    ctx,
                    &format!(
                        "the compression '{other}' of a request is not supported: gzip and deflate are"
                    ),
                ));
            }
        };
        *body = packed.map_err(|error| throw(ctx, &error.to_string()))?;
        names.push(name);
    }
    Ok(names.join(", "))
}

/// Unpacks a body by its `Content-Encoding`, up to a limit of bytes.
pub(super) fn unpack(
    body: &[u8],
    encoding: &str,
    limit: usize,
) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = body.to_vec();
    for name in encoding
        .rsplit(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && *name != "identity")
    {
        let mut unpacked = Vec::new();
        let room = limit as u64 + 1;
        let read = match name {
            "gzip" | "x-gzip" => GzDecoder::new(&bytes[..])
                .take(room)
                .read_to_end(&mut unpacked),
            "deflate" => ZlibDecoder::new(&bytes[..])
                .take(room)
                .read_to_end(&mut unpacked),
            other => {
                return Err(format!(
                    "the response's encoding '{other}' is not supported: gzip and deflate are"
                ));
            }
        };
        read.map_err(|error| format!("the response's body is no {name}: {error}"))?;
        if unpacked.len() > limit {
            return Err(format!(
                "the response's body is larger than {} MiB when unpacked",
                limit >> 20
            ));
        }
        bytes = unpacked;
    }
    Ok(bytes)
}
