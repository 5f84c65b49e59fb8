//! The API's document, to hold answers against.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::Message;

pub struct Document(Value);

impl Document {
    /// The document that the gateway serves.
    pub fn served() -> &'static Document {
        static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
            let text = include_str!("../../../src/admin/api/openapi.json");
            Document(serde_json::from_str(text).expect("JSON"))
        });
        &DOCUMENT
    }

    pub fn value(&self) -> &Value {
        &self.0
    }

    /// Every operation there is, as path and method.
    pub fn operations(&self) -> Vec<(String, String)> {
        let paths = self.0["paths"].as_object().unwrap();
        let methods = |(path, item): (&String, &Value)| {
            let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
            methods.map(|method| (path.clone(), method.to_uppercase())).collect::<Vec<_>>()
        };
        paths.iter().flat_map(methods).collect()
    }

    /// The status codes that are documented for an operation.
    pub fn statuses(&self, path: &str, method: &str) -> Vec<u16> {
        let responses = &self.0["paths"][path][method.to_lowercase()]["responses"];
        responses.as_object().unwrap().keys().map(|status| status.parse().unwrap()).collect()
    }

    /// Whether an answer is what the document says of it.
    #[track_caller]
    pub fn check(&self, method: &str, target: &str, answer: &Message) {
        let status = answer.status();
        let (place, response) = match (status, self.path(target)) {
            (404, None) => self.shared("NoSuchPath"),
            (405, Some(_)) => self.shared("MethodNotAllowed"),
            (_, None) => panic!("{target} is not documented, but answered {status}"),
            (_, Some(path)) => {
                let path = path.replace('/', "~1");
                let place = format!("/paths/{path}/{}/responses/{status}", method.to_lowercase());
                self.resolved(place)
            }
        };
        for name in response["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
            // All others are for every such answer.
            assert!(
                name == "Link" || answer.field(name).is_some(),
                "{name} is missing: {}",
                answer.raw_text()
            );
        }
        let content = response["content"].as_object().expect("content");
        let (media_type, _) = content.iter().next().expect("a media type");
        assert_eq!(answer.field("content-type").as_ref(), Some(media_type), "{}", answer.raw_text());
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        self.validate(&place, &response["content"][media_type]["schema"], &body);
        assert_eq!(answer.field("link").is_some(), body.get("next").is_some(), "{}", answer.raw_text());
        if status >= 400 {
            assert_eq!(body["status"], status);
        }
    }

    /// Whether a value is what the document says of its kind.
    #[track_caller]
    pub fn check_schema(&self, name: &str, value: &Value) {
        self.validate(name, &self.0["components"]["schemas"][name], value);
    }

    #[track_caller]
    fn validate(&self, place: &str, schema: &Value, value: &Value) {
        let mut schema = schema.clone();
        schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        schema["components"] = self.0["components"].clone();
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema");
        let errors: Vec<String> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{place}: {errors:#?}\n{value:#}");
    }

    /// The documented path that a target is one of.
    fn path(&self, target: &str) -> Option<&String> {
        let target = target.split('?').next().unwrap();
        let fits = |path: &&String| {
            let (path, target) = (path.split('/'), target.split('/'));
            path.clone().count() == target.clone().count()
                && path.zip(target).all(|(expected, found)| expected.starts_with('{') || expected == found)
        };
        self.0["paths"].as_object().unwrap().keys().find(fits)
    }

    fn shared(&self, name: &str) -> (String, &Value) {
        self.resolved(format!("/components/responses/{name}"))
    }

    /// What stands at a place, or where that refers to.
    fn resolved(&self, place: String) -> (String, &Value) {
        let found = self.0.pointer(&place).unwrap_or_else(|| panic!("{place} is not documented"));
        match found["$ref"].as_str() {
            Some(reference) => self.resolved(reference.trim_start_matches('#').to_owned()),
            None => (place, found),
        }
    }
}
