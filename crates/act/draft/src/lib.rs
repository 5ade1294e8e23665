//! A first scenario script, written from a recording (HAR) or a description (OpenAPI) of a service.
