//! What the analyzer concluded, and the areas that it sees.

use cohort_model::{At, EndpointId};

use super::{Conductor, ServiceStep};

impl Conductor {
    /// Hears the analyzer.
    pub(super) fn conclude(&mut self, at: At, step: &mut ServiceStep) {
        self.hear(at, Vec::new(), step);
    }

    /// Takes over the areas, and says when they are not those of before.
    pub(super) fn learn_areas(&mut self, step: &mut ServiceStep) {
        let _ = step;
    }

    /// Name of the area of an endpoint.
    pub(super) fn area_name(&self, endpoint: EndpointId) -> String {
        let area = self
            .areas
            .iter()
            .find(|area| area.endpoints.contains(&endpoint));
        area.map_or_else(|| self.endpoint_name(endpoint), |area| area.name.clone())
    }
}
