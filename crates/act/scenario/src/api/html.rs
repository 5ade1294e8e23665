//! HTML as browsers read it, handed to the script's side as a flat list of nodes: what a selection is made of is in `jslib/html.js`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use html5ever::interface::{ElemName, ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::{Attribute, LocalName, Namespace, QualName, parse_document};
use rquickjs::function::Params;
use rquickjs::{Result, Value};
use serde_json::{Map, Value as Json, json};

use super::arg;
use crate::core::{Core, text};

/// `html(text)`: its nodes, each after its parent: `{p: place of the parent, n: name, a: attributes}` or `{p, t: text}`.
pub(super) fn read<'js>(_core: &Rc<Core>, params: &Params<'_, 'js>) -> Result<Value<'js>> {
    let source = text(&arg(params, 0))?;
    let tree = parse_document(Tree::new(), html5ever::ParseOpts::default()).one(source);
    params.ctx().json_parse(tree.listed().to_string())
}

enum What {
    Document,
    Element {
        name: Rc<QualName>,
        attributes: Vec<(String, String)>,
    },
    Text(String),
    /// Comments and the like, which no selection sees.
    Unseen,
}

struct Node {
    what: What,
    parent: Option<usize>,
    children: Vec<usize>,
}

/// A tree that is being read; nodes are known by their place.
struct Tree(RefCell<Vec<Node>>);

/// Name of an element, apart from the tree.
#[derive(Debug)]
struct Name(Rc<QualName>);

impl ElemName for Name {
    fn ns(&self) -> &Namespace {
        &self.0.ns
    }

    fn local_name(&self) -> &LocalName {
        &self.0.local
    }
}

impl Tree {
    fn new() -> Self {
        let tree = Self(RefCell::default());
        tree.add(What::Document);
        tree
    }

    fn add(&self, what: What) -> usize {
        let mut nodes = self.0.borrow_mut();
        nodes.push(Node {
            what,
            parent: None,
            children: Vec::new(),
        });
        nodes.len() - 1
    }

    /// Puts a child at a place among its parent's; text joins text.
    fn put(&self, parent: usize, at: usize, child: NodeOrText<usize>) {
        let child = match child {
            NodeOrText::AppendNode(child) => child,
            NodeOrText::AppendText(more) => {
                let mut nodes = self.0.borrow_mut();
                let before = at.checked_sub(1).map(|at| nodes[parent].children[at]);
                if let Some(What::Text(known)) = before.map(|before| &mut nodes[before].what) {
                    known.push_str(&more);
                    return;
                }
                drop(nodes);
                self.add(What::Text(more.to_string()))
            }
        };
        self.remove_from_parent(&child);
        let mut nodes = self.0.borrow_mut();
        let at = at.min(nodes[parent].children.len());
        nodes[parent].children.insert(at, child);
        nodes[child].parent = Some(parent);
    }

    fn listed(&self) -> Json {
        let nodes = self.0.borrow();
        let mut list = Vec::with_capacity(nodes.len());
        // Not by recursion: how deep a page goes is up to the server.
        let mut next: Vec<(usize, Option<usize>)> = vec![(0, None)];
        while let Some((node, parent)) = next.pop() {
            let node = &nodes[node];
            match &node.what {
                What::Document => list.push(json!({ "n": "#document", "a": {} })),
                What::Element { name, attributes } => {
                    let attributes: Map<String, Json> = attributes
                        .iter()
                        .map(|(name, value)| (name.clone(), value.as_str().into()))
                        .collect();
                    list.push(json!({ "p": parent, "n": &*name.local, "a": attributes }));
                }
                What::Text(text) => list.push(json!({ "p": parent, "t": text })),
                What::Unseen => continue,
            }
            let place = Some(list.len() - 1);
            next.extend(node.children.iter().rev().map(|child| (*child, place)));
        }
        list.into()
    }
}

fn attribute(attribute: &Attribute) -> (String, String) {
    (
        attribute.name.local.to_string(),
        attribute.value.to_string(),
    )
}

impl TreeSink for Tree {
    type Handle = usize;
    type Output = Self;
    type ElemName<'a> = Name;

    fn finish(self) -> Self {
        self
    }

    fn parse_error(&self, _message: Cow<'static, str>) {}

    fn get_document(&self) -> usize {
        0
    }

    fn elem_name<'a>(&'a self, target: &'a usize) -> Name {
        match &self.0.borrow()[*target].what {
            What::Element { name, .. } => Name(name.clone()),
            _ => unreachable!("the parser asks for the names of elements only"),
        }
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, _: ElementFlags) -> usize {
        self.add(What::Element {
            name: Rc::new(name),
            attributes: attributes.iter().map(attribute).collect(),
        })
    }

    fn create_comment(&self, _text: StrTendril) -> usize {
        self.add(What::Unseen)
    }

    fn create_pi(&self, _target: StrTendril, _data: StrTendril) -> usize {
        self.add(What::Unseen)
    }

    fn append(&self, parent: &usize, child: NodeOrText<usize>) {
        let end = self.0.borrow()[*parent].children.len();
        self.put(*parent, end, child);
    }

    fn append_based_on_parent_node(
        &self,
        element: &usize,
        previous: &usize,
        child: NodeOrText<usize>,
    ) {
        if self.0.borrow()[*element].parent.is_some() {
            self.append_before_sibling(element, child);
        } else {
            self.append(previous, child);
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, target: &usize) -> usize {
        *target
    }

    fn same_node(&self, left: &usize, right: &usize) -> bool {
        left == right
    }

    fn set_quirks_mode(&self, _mode: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &usize, new: NodeOrText<usize>) {
        if let NodeOrText::AppendNode(node) = &new {
            self.remove_from_parent(node);
        }
        let place = {
            let nodes = self.0.borrow();
            nodes[*sibling].parent.map(|parent| {
                let children = &nodes[parent].children;
                let at = children.iter().position(|child| child == sibling);
                (parent, at.unwrap_or(children.len()))
            })
        };
        if let Some((parent, at)) = place {
            self.put(parent, at, new);
        }
    }

    fn add_attrs_if_missing(&self, target: &usize, more: Vec<Attribute>) {
        if let What::Element { attributes, .. } = &mut self.0.borrow_mut()[*target].what {
            for (name, value) in more.iter().map(attribute) {
                if attributes.iter().all(|(known, _)| *known != name) {
                    attributes.push((name, value));
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &usize) {
        let mut nodes = self.0.borrow_mut();
        if let Some(parent) = nodes[*target].parent.take() {
            nodes[parent].children.retain(|child| child != target);
        }
    }

    fn reparent_children(&self, node: &usize, new_parent: &usize) {
        let mut nodes = self.0.borrow_mut();
        let children = std::mem::take(&mut nodes[*node].children);
        for child in &children {
            nodes[*child].parent = Some(*new_parent);
        }
        nodes[*new_parent].children.extend(children);
    }
}
