//! Descriptions of APIs become scripts, of which every function is run.

mod support;

use cohort_draft::from_openapi;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Service, failed_checks, requests};

const FILES: [(&str, &str); 3] = [
    (
        include_str!("files/petstore-3.0.json"),
        include_str!("files/petstore-3.0.json.js"),
    ),
    (
        include_str!("files/petstore-2.0.yaml"),
        include_str!("files/petstore-2.0.yaml.js"),
    ),
    (
        include_str!("files/bookings-3.1.yaml"),
        include_str!("files/bookings-3.1.yaml.js"),
    ),
];

/// Runs every function of the mix once, and the mix itself.
fn run_all(script: &str, environment: &[(&str, &str)], answers: &str) -> Vec<Value> {
    let all = format!("{script}\nexport function all() {{ for (const [call] of mix) call(); }}\n");
    let service = Service {
        environment,
        answers,
    };
    assert_eq!(requests(&service.run(&all, "default")).len(), 1);
    service.run(&all, "all")
}

#[test]
fn scripts_of_descriptions_are_as_they_were_read_last() {
    for (description, script) in FILES {
        let draft = from_openapi(description).unwrap();
        // When it should change: `cargo run -p cohort-draft --example draft -- FILE > FILE.js`.
        assert_eq!(draft.script, script);
        assert_eq!(from_openapi(description).unwrap(), draft);
    }
}

#[test]
fn every_operation_is_called_as_it_is_described() {
    let answers = "(method, url) => ({ status: method === 'POST' && !/(photo|login|payment|Image)$/.test(url) ? 201 : url.endsWith('photo') || (method === 'DELETE' && url.includes('bookings')) ? 204 : 200, body: '' })";
    let environment = [
        ("BASE_URL", "http://b"),
        ("PET_ID", "7"),
        ("KEY", "k&"),
        ("PASSWORD", "p"),
    ];
    let expected = [
        vec![
            "POST http://b/api/v3/pet",
            "PUT http://b/api/v3/pet",
            "GET http://b/api/v3/pet/findByStatus?status=available",
            "GET http://b/api/v3/pet/7",
            "DELETE http://b/api/v3/pet/7",
            "POST http://b/api/v3/pet/7/uploadImage",
            "POST http://b/api/v3/user/login",
        ],
        vec![
            "POST http://b/v2/pets?key=k%26",
            "GET http://b/v2/pets?tags=text&tags=text&limit=20",
            "GET http://b/v2/pets/7",
            "POST http://b/v2/pets/7/photo",
        ],
        vec![
            "POST http://b/v1/bookings",
            "GET http://b/v1/bookings/1725ff48-ab45-4bb5-9d02-88745177dedb",
            "DELETE http://b/v1/bookings/1725ff48-ab45-4bb5-9d02-88745177dedb",
            "POST http://b/v1/bookings/1725ff48-ab45-4bb5-9d02-88745177dedb/payment",
            "GET http://b/v1/stations?coordinates=52.5200%2C13.4050&filter%5Bcountry%5D=DE",
        ],
    ];
    for ((description, _), expected) in FILES.into_iter().zip(expected) {
        let draft = from_openapi(description).unwrap();
        let logged = run_all(&draft.script, &environment, answers);
        assert_eq!(requests(&logged), expected);
        assert_eq!(failed_checks(&logged), Vec::<&Value>::new());
        assert!(!draft.script.contains("topsecret") && !draft.script.contains("'123'"));
    }
}

#[test]
fn circles_choices_and_bounds_give_values_that_are_allowed() {
    let draft = from_openapi(FILES[0].0).unwrap();
    let logged = run_all(&draft.script, &[], "() => undefined");
    let pet: Value = serde_json::from_str(logged[0]["body"].as_str().unwrap()).unwrap();
    let expected = json!({
        "category": { "id": 1, "name": "Dogs" },
        "name": "doggie",
        "owner": { "name": "text", "email": "user@example.com" },
        "photoUrls": ["https://example.com/"],
        "weight": 1,
    });
    assert_eq!(pet, expected);
}

#[test]
fn a_broken_description_is_told_with_its_place() {
    let told = |text: &str| from_openapi(text).unwrap_err().to_string();
    let start = "openapi: 3.0.0\ninfo: {title: t, version: '1'}\n";
    let cases = [
        ("{\"openapi\": ", "line 1, column 12"),
        ("openapi: 3.0.0\npaths:\n  /a: [1\n  b: 2", "line "),
        ("a: 1\na: 2\n", "line 2"),
        ("", "expected"),
        ("just text", "the file: expected"),
        ("[1]", "the file: expected"),
        ("info: {}", "openapi: expected the version"),
        (
            "openapi: 4.0.0",
            "openapi: \"4.0.0\" is not a version that is known",
        ),
        ("swagger: '1.2'", "swagger: \"1.2\""),
        (
            "openapi: 3.0.0",
            "paths: expected the paths of the API, found nothing",
        ),
        (
            "openapi: 3.0.0\npaths: []",
            "paths: expected a table (object), found a list",
        ),
        (
            "openapi: 3.0.0\npaths: {}",
            "no operation that could be called",
        ),
        (
            "openapi: 3.0.0\npaths: {a: {get: {}}}",
            "paths.a: \"a\" is not a path",
        ),
        (
            "openapi: 3.0.0\npaths: {/a: {get: 1}}",
            "paths./a.get: expected a table (object), found a number",
        ),
        (
            "openapi: 3.0.0\npaths: {/a: {get: {parameters: [{in: query}]}}}",
            "paths./a.get.parameters[0].name: expected the parameter's name, found nothing",
        ),
        (
            "openapi: 3.0.0\npaths: {/a: {get: {parameters: [{name: x, in: space}]}}}",
            "paths./a.get.parameters[0].in: \"space\" is not where a parameter goes",
        ),
        (
            "openapi: 3.0.0\npaths: {/a: {post: {requestBody: {$ref: '#/components/x'}}}}",
            "paths./a.post.requestBody.$ref: \"#/components/x\" is not a place in this file",
        ),
    ];
    for (text, expected) in cases {
        let told = told(text);
        assert!(told.contains(expected), "{text}\n{told}");
    }
    let circle = format!("{start}paths: {{/a: {{$ref: '#/paths/~1a'}}}}");
    assert!(
        told(&circle).contains("ends somewhere"),
        "{}",
        told(&circle)
    );
}

#[test]
fn bombs_of_references_and_aliases_are_bounded() {
    let mut schemas = serde_json::Map::new();
    for level in 0..40 {
        let next = json!({ "$ref": format!("#/components/schemas/S{}", level + 1) });
        let fields = json!({ "a": next, "b": next, "c": next });
        let schema = json!({ "type": "object", "required": ["a", "b", "c"], "properties": fields });
        schemas.insert(format!("S{level}"), schema);
    }
    schemas.insert("S40".to_owned(), json!({}));
    let body = json!({ "content": { "application/json": { "schema": { "$ref": "#/components/schemas/S0" } } } });
    let description = json!({
        "openapi": "3.0.0",
        "paths": { "/a": { "post": { "requestBody": body } } },
        "components": { "schemas": schemas },
    });
    let draft = from_openapi(&description.to_string()).unwrap();
    assert!(draft.script.len() < 100_000, "{}", draft.script.len());

    let mut yaml = "openapi: 3.0.0\nl0: &l0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*l{}", level - 1);
        let nine = [before.as_str(); 9].join(", ");
        yaml.push_str(&format!("l{level}: &l{level} [{nine}]\n"));
    }
    from_openapi(&yaml).unwrap_err();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_described_is_called_and_nothing_becomes_code(
        id in ".*", title in ".*", path in "/[^{}]{0,20}", name in ".{1,12}", value in ".*", field in ".*"
    ) {
        let parameters = [
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" }, "example": value }),
            json!({ "name": name, "in": "query", "required": true, "example": value }),
        ];
        let body = json!({ "content": { "application/json": { "example": { "field": field, "plain": 1 } } } });
        let operation = json!({
            "operationId": id, "summary": title, "parameters": parameters, "requestBody": body,
            "responses": { "200": {} },
        });
        let description = json!({
            "openapi": "3.1.0", "info": { "title": title, "version": "1" },
            "servers": [{ "url": "http://a.test" }],
            "paths": { format!("{path}/{{{name}}}"): { "post": operation } },
        });
        let draft = from_openapi(&description.to_string());
        // A name with a brace in it makes another path.
        prop_assume!(!name.contains(['{', '}']));
        let draft = draft.unwrap();
        let logged = run_all(&draft.script, &[], "() => undefined");
        let sent: Value = serde_json::from_str(logged[0]["body"].as_str().unwrap()).unwrap();
        prop_assert_eq!(sent["plain"].as_i64(), Some(1));
        prop_assert!(sent["field"] == json!(field) || sent["field"] == "");
    }

    #[test]
    fn any_text_is_a_script_or_an_error(text in "(?s).{0,200}", at in any::<usize>(), end in any::<bool>()) {
        let _ = from_openapi(&text);
        let _ = from_openapi(&format!("openapi: 3.0.0\npaths:\n  /a:\n    get:\n      {text}"));
        for (file, _) in FILES {
            let mut bytes = file.as_bytes().to_vec();
            let at = at % bytes.len();
            if end {
                bytes.truncate(at);
            } else {
                bytes.splice(at..(at + 9).min(bytes.len()), text.bytes().take(9));
            }
            let _ = from_openapi(&String::from_utf8_lossy(&bytes));
        }
    }
}
