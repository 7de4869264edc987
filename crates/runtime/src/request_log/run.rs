//! Runs a compiled template.

use std::borrow::Cow;
use std::io::Write as _;
use std::vec;

use super::entry::Entry;
use super::parse::{Constant, Step, Template};
use super::printf::shortest;
use super::url;
use super::value::Value;

/// Steps for one line. A template that takes more goes round in circles.
const MAX_STEPS: usize = 100_000;
/// Longest line in bytes.
const MAX_LINE: usize = 1 << 20;
/// How deep templates may call each other.
const MAX_DEPTH: usize = 100;

impl Template {
    /// Writes the line of `entry`. If the template cannot be carried out for it, the line says so.
    pub fn render(&self, entry: &Entry<'_>, line: &mut Vec<u8>) {
        let begin = line.len();
        let mut run = Run {
            template: self,
            out: line,
            steps: 0,
        };
        if let Err(error) = run.program(0, Value::Entry(entry), 0) {
            tracing::debug!("request log template: {error}");
            line.truncate(begin);
            told_invalid(entry, line);
        }
    }
}

/// Source: spec/queue-proxy.md §7.4.
fn told_invalid(entry: &Entry<'_>, line: &mut Vec<u8>) {
    // Writing to a vector does not fail.
    let _ = write!(
        line,
        "Invalid request log template: method: {}, response code: {}, latency: ",
        entry.request.method, entry.response.code
    );
    shortest(entry.response.latency.as_secs_f64(), line);
    let _ = writeln!(line, ", url: {}", url::whole(entry.request));
}

struct Run<'p, 'o> {
    template: &'p Template,
    out: &'o mut Vec<u8>,
    steps: usize,
}

/// What one program works on.
struct Frame<'a> {
    stack: Vec<Value<'a>>,
    variables: Vec<Value<'a>>,
    dots: Vec<Value<'a>>,
    loops: Vec<Going<'a>>,
}

/// A loop that is under way.
struct Going<'a> {
    rest: Elements<'a>,
    key: Option<usize>,
    value: Option<usize>,
}

/// What is left to go through: keys and values.
enum Elements<'a> {
    Pairs(vec::IntoIter<(Value<'a>, Value<'a>)>),
    Numbers(std::ops::Range<i64>),
}

impl<'a> Iterator for Elements<'a> {
    type Item = (Value<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Pairs(pairs) => pairs.next(),
            Self::Numbers(numbers) => numbers.next().map(|n| (Value::Int(n), Value::Int(n))),
        }
    }
}

impl<'a> Frame<'a> {
    fn pop(&mut self) -> Value<'a> {
        self.stack.pop().unwrap_or(Value::Nil)
    }

    fn dot(&self) -> Value<'a> {
        self.dots.last().cloned().unwrap_or(Value::Nil)
    }

    fn set(&mut self, slot: usize, value: Value<'a>) {
        if self.variables.len() <= slot {
            self.variables.resize(slot + 1, Value::Nil);
        }
        self.variables[slot] = value;
    }

    /// The lowest of the `count` values on top.
    fn under(&self, count: usize) -> usize {
        self.stack.len().saturating_sub(count)
    }

    /// Goes on to the next element of the innermost loop, if there is one.
    fn advance(&mut self) -> bool {
        let Some(going) = self.loops.last_mut() else {
            return false;
        };
        let (key_slot, value_slot) = (going.key, going.value);
        let Some((key, value)) = going.rest.next() else {
            return false;
        };
        if let Some(slot) = key_slot {
            self.set(slot, key);
        }
        if let Some(slot) = value_slot {
            self.set(slot, value.clone());
        }
        if let Some(dot) = self.dots.last_mut() {
            *dot = value;
        }
        true
    }
}

impl Run<'_, '_> {
    fn program<'a>(&mut self, program: usize, data: Value<'a>, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("templates call each other too deep".to_owned());
        }
        let template = self.template;
        let steps = template
            .programs
            .get(program)
            .map_or(&[][..], Vec::as_slice);
        let mut frame: Frame<'a> = Frame {
            stack: Vec::with_capacity(4),
            variables: vec![data.clone()],
            dots: vec![data],
            loops: Vec::new(),
        };
        let mut at = 0;
        while let Some(step) = steps.get(at) {
            self.steps += 1;
            if self.steps > MAX_STEPS || self.out.len() > MAX_LINE {
                return Err("the line gets too long".to_owned());
            }
            at = match self.step(step, &mut frame, depth)? {
                Some(target) => target,
                None => at + 1,
            };
        }
        Ok(())
    }

    /// Takes one step; the answer is where to go on, if not behind it.
    fn step<'a>(
        &mut self,
        step: &Step,
        frame: &mut Frame<'a>,
        depth: usize,
    ) -> Result<Option<usize>, String> {
        match step {
            Step::Literal(text) => self.out.extend_from_slice(text),
            Step::Print => frame.pop().print(self.out),
            Step::Dot => frame.stack.push(frame.dot()),
            Step::Variable(slot) => {
                let value = frame.variables.get(*slot).cloned();
                frame.stack.push(value.unwrap_or(Value::Nil));
            }
            Step::Constant(constant) => frame.stack.push(value_of(constant)),
            Step::Field { name, args } => {
                let under = frame.under(*args);
                let args = frame.stack.split_off(under);
                let value = frame.pop().field(name, &args)?;
                frame.stack.push(value);
            }
            Step::Call { function, args } => {
                let under = frame.under(*args);
                let value = function.call(&frame.stack[under..])?;
                if matches!(&value, Value::Text(text) if text.len() > MAX_LINE) {
                    return Err("a text gets too long".to_owned());
                }
                frame.stack.truncate(under);
                frame.stack.push(value);
            }
            Step::Rotate(count) => {
                let under = frame.under(*count);
                if let [_, _, ..] = frame.stack[under..] {
                    frame.stack[under..].rotate_left(1);
                }
            }
            Step::Set(slot) => {
                let value = frame.pop();
                frame.set(*slot, value);
            }
            Step::Jump(to) => return Ok(Some(*to)),
            Step::JumpUnless(to) => {
                if !frame.pop().is_true() {
                    return Ok(Some(*to));
                }
            }
            Step::JumpKeeping { is, to } => {
                if frame.stack.last().is_some_and(|top| top.is_true() == *is) {
                    return Ok(Some(*to));
                }
                frame.pop();
            }
            Step::PushDot => {
                let value = frame.pop();
                frame.dots.push(value);
            }
            Step::PopDot => {
                frame.dots.pop();
            }
            Step::Range { key, value, empty } => {
                let rest = elements(&frame.pop())?;
                frame.loops.push(Going {
                    rest,
                    key: *key,
                    value: *value,
                });
                frame.dots.push(Value::Nil);
                if !frame.advance() {
                    frame.loops.pop();
                    frame.dots.pop();
                    return Ok(Some(*empty));
                }
            }
            Step::Next { body } => {
                if frame.advance() {
                    return Ok(Some(*body));
                }
                frame.loops.pop();
                frame.dots.pop();
            }
            Step::EndRange => {
                frame.loops.pop();
                frame.dots.pop();
            }
            Step::Run { program, name } => match program {
                Some(program) => {
                    let data = frame.pop();
                    self.program(*program, data, depth + 1)?;
                }
                None => return Err(format!("template {name:?} not defined")),
            },
        }
        Ok(None)
    }
}

fn value_of<'a>(constant: &Constant) -> Value<'a> {
    match constant {
        Constant::Nil => Value::Nil,
        Constant::Bool(truth) => Value::Bool(*truth),
        Constant::Int(number) => Value::Int(*number),
        Constant::Float(number) => Value::Float(*number),
        Constant::Text(text) => Value::Text(Cow::Owned(text.to_vec())),
    }
}

fn elements<'a>(value: &Value<'a>) -> Result<Elements<'a>, String> {
    let pairs: Vec<_> = match value {
        Value::Int(count) => return Ok(Elements::Numbers(0..*count)),
        Value::List(list) => {
            let keys = (0..).map(Value::Int);
            keys.zip(list.iter().cloned().map(Value::Text)).collect()
        }
        Value::Nil | Value::Missing => Vec::new(),
        other => match other.as_map() {
            Some(map) => {
                let entry = |(key, list): (&Vec<u8>, &Vec<_>)| {
                    (Value::Text(key.clone().into()), Value::List(list.clone()))
                };
                map.iter().map(entry).collect()
            }
            None => return Err(format!("range can't iterate over {}", other.kind())),
        },
    };
    Ok(Elements::Pairs(pairs.into_iter()))
}
