//! The JSON Schema (draft 2020-12) of the configuration file, for editors; generated from the [`Shape`] of the sections.

use serde_json::{Map, Value as Json, json};

use super::{
    Config,
    value::{Key, Shape, Value as _},
};

/// The schema of the whole file.
pub fn schema() -> Json {
    let mut schema = of(&Config::shape());
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".to_owned(), json!("Brama configuration"));
    }
    schema
}

fn of(shape: &Shape) -> Json {
    match shape {
        Shape::Leaf { schema, .. } => or_variable(schema.clone()),
        Shape::List(inner) => json!({"type": "array", "items": of(inner)}),
        Shape::Map(inner) => json!({"type": "object", "additionalProperties": of(inner)}),
        Shape::Table { doc, keys } => {
            let properties: Map<String, Json> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
            let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
            json!({
                "type": "object",
                "description": words(doc),
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            })
        }
    }
}

/// Text may hold `${NAME}`, which no pattern, format or list of words foresees.
fn or_variable(schema: Json) -> Json {
    let text = schema.get("type").and_then(Json::as_str) == Some("string");
    if text && ["pattern", "format", "enum"].iter().any(|word| schema.get(word).is_some()) {
        json!({"anyOf": [schema, {"type": "string", "pattern": "\\$\\{[^}]+\\}"}]})
    } else {
        schema
    }
}

fn property(key: &Key) -> Json {
    let mut schema = of(&key.shape);
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".to_owned(), json!(words(key.doc)));
        if let Some(default) = key.default.as_deref().and_then(json_of) {
            object.insert("default".to_owned(), default);
        }
    }
    schema
}

/// A default, which is TOML text, as JSON.
fn json_of(text: &str) -> Option<Json> {
    let table: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    serde_json::to_value(table.get("value")?).ok()
}

fn words(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_every_key_its_default_and_what_is_required() {
        let schema = schema();
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["properties"]["portal"]["required"], json!(["public_url"]));
        assert!(schema["required"].as_array().unwrap().contains(&json!("portal")));
        assert!(!schema["required"].as_array().unwrap().contains(&json!("session")));
        let idle = &schema["properties"]["session"]["properties"]["idle_timeout"];
        assert_eq!(idle["default"], json!("8h"));
        assert!(idle["description"].as_str().unwrap().contains("unused"));
        let kind = &schema["properties"]["provider"]["additionalProperties"]["properties"]["kind"];
        assert!(kind["anyOf"][0]["enum"].as_array().unwrap().contains(&json!("google")));
    }
}
