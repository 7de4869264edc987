//! Compiles what stands between the braces: pipelines, commands and their operands.

use super::BadTemplate;
use super::function::Function;
use super::lex::{Kind, Token};
use super::parse::{Compiler, Constant, Line, Step};

/// What a pipeline may begin with.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Declares {
    Nothing,
    One,
    /// Two, as a loop has them.
    Pair,
}

impl Compiler<'_> {
    /// Compiles a pipeline, which leaves one value. The answer is the slots that it is to be set
    /// to, key first.
    pub(super) fn pipeline(
        &mut self,
        line: &mut Line,
        may: Declares,
    ) -> Result<Vec<usize>, BadTemplate> {
        let names = self.declared(line, may)?;
        let mut stage = 0;
        loop {
            let at = line.place();
            match line.peek() {
                None | Some(Kind::Close) if stage == 0 => {
                    return self.wrong(at, "a value is missing");
                }
                None | Some(Kind::Close) => return self.wrong(at, "a value is missing behind |"),
                _ => self.command(line, stage > 0)?,
            }
            stage += 1;
            if line.peek() != Some(&Kind::Pipe) {
                break;
            }
            line.tokens.next();
        }
        let mut slots = Vec::new();
        for (name, at, new) in names {
            if new {
                self.variables.push(name);
                slots.push(self.variables.len() - 1);
            } else {
                slots.push(self.slot(&name, at)?);
            }
        }
        Ok(slots)
    }

    /// `$a :=`, `$a =`, `$a, $b :=`: names, where they are, and whether they are new.
    fn declared(
        &self,
        line: &mut Line,
        may: Declares,
    ) -> Result<Vec<(String, usize, bool)>, BadTemplate> {
        let ahead: Vec<Token> = line.tokens.clone().take(4).collect();
        let kinds: Vec<&Kind> = ahead.iter().map(|token| &token.kind).collect();
        let (names, sign) = match kinds[..] {
            [Kind::Variable(_), sign @ (Kind::Declare | Kind::Assign), ..] => (vec![0], sign),
            [
                Kind::Variable(_),
                Kind::Comma,
                Kind::Variable(_),
                sign @ (Kind::Declare | Kind::Assign),
            ] => (vec![0, 2], sign),
            _ => return Ok(Vec::new()),
        };
        let at = line.place();
        if may == Declares::Nothing {
            return self.wrong(at, "no variable can be set here");
        }
        if names.len() == 2 && may != Declares::Pair {
            return self.wrong(at, "two variables can be set in {{range}} only");
        }
        let new = *sign == Kind::Declare;
        let mut declared = Vec::new();
        for place in &names {
            let token = &ahead[*place];
            if let Kind::Variable(name) = &token.kind {
                if new && name == "$" {
                    return self.wrong(token.at, "$ cannot be declared");
                }
                declared.push((name.clone(), token.at, new));
            }
        }
        line.tokens.nth(names.len() * 2 - 1);
        Ok(declared)
    }

    fn slot(&self, name: &str, at: usize) -> Result<usize, BadTemplate> {
        match self.variables.iter().rposition(|known| known == name) {
            Some(slot) => Ok(slot),
            None => self.wrong(at, format!("undefined variable {name:?}")),
        }
    }

    /// Compiles one command. `piped`: the value of the one before is on the stack, and becomes
    /// the last argument.
    fn command(&mut self, line: &mut Line, piped: bool) -> Result<(), BadTemplate> {
        let at = line.place();
        let extra = usize::from(piped);
        if let Some(Kind::Word(word)) = line.peek()
            && !is_constant(word)
        {
            let function = self.function(&word.clone(), at)?;
            line.tokens.next();
            if !piped && matches!(function, Function::And | Function::Or) {
                return self.short_circuit(line, function, at);
            }
            let args = self.arguments(line)?;
            self.check(function, args + extra, at)?;
            if piped {
                self.add(Step::Rotate(args + 1));
            }
            self.add(Step::Call {
                function,
                args: args + extra,
            });
            return Ok(());
        }
        let from = self.here();
        self.operand(line)?;
        let last = self.steps().pop();
        let here = self.here();
        match last {
            // A field of the whole operand can be a method with arguments.
            Some(Step::Field { name, args: 0 }) if here >= from => {
                let args = self.arguments(line)?;
                if piped {
                    self.add(Step::Rotate(args + 2));
                }
                self.add(Step::Field {
                    name,
                    args: args + extra,
                });
                Ok(())
            }
            Some(Step::Constant(Constant::Nil)) => self.wrong(at, "nil is not a command"),
            Some(_) if piped => self.wrong(at, "behind | there has to be a function"),
            Some(other) => {
                self.add(other);
                match line.peek() {
                    None | Some(Kind::Pipe | Kind::Close) => Ok(()),
                    _ => self.wrong(at, "only a function or a method takes arguments"),
                }
            }
            None => self.wrong(at, "a value is missing"),
        }
    }

    fn function(&self, name: &str, at: usize) -> Result<Function, BadTemplate> {
        match Function::named(name) {
            Some(function) => Ok(function),
            None => self.wrong(at, format!("function {name:?} not defined")),
        }
    }

    fn check(&self, function: Function, args: usize, at: usize) -> Result<(), BadTemplate> {
        let (takes, name) = function.takes();
        if takes.contains(&args) {
            return Ok(());
        }
        let want = match (*takes.start(), *takes.end()) {
            (least, usize::MAX) => format!("at least {least}"),
            (least, most) if least == most => format!("{least}"),
            (least, most) => format!("{least} to {most}"),
        };
        self.wrong(at, format!("{name} takes {want} arguments, not {args}"))
    }

    /// `and` and `or` look no further than they have to.
    fn short_circuit(
        &mut self,
        line: &mut Line,
        function: Function,
        at: usize,
    ) -> Result<(), BadTemplate> {
        let is = function == Function::Or;
        let mut jumps = Vec::new();
        let mut args = 0;
        while self.is_argument(line) {
            if args > 0 {
                jumps.push(self.add(Step::JumpKeeping { is, to: 0 }));
            }
            self.operand(line)?;
            args += 1;
        }
        self.check(function, args, at)?;
        let here = self.here();
        for jump in jumps {
            self.patch(jump, here);
        }
        Ok(())
    }

    fn is_argument(&self, line: &mut Line) -> bool {
        !matches!(line.peek(), None | Some(Kind::Pipe | Kind::Close))
    }

    fn arguments(&mut self, line: &mut Line) -> Result<usize, BadTemplate> {
        let mut args = 0;
        while self.is_argument(line) {
            self.operand(line)?;
            args += 1;
        }
        Ok(args)
    }

    /// One operand with the fields that hang on it.
    fn operand(&mut self, line: &mut Line) -> Result<(), BadTemplate> {
        let at = line.place();
        let Some(token) = line.tokens.next() else {
            return self.wrong(at, "a value is missing");
        };
        let mut has_fields = true;
        match token.kind {
            Kind::Dot => {
                self.add(Step::Dot);
                has_fields = false;
            }
            Kind::Field(name) => {
                self.add(Step::Dot);
                self.field(name);
            }
            Kind::Variable(name) => {
                let slot = self.slot(&name, at)?;
                self.add(Step::Variable(slot));
            }
            Kind::Open => {
                self.enter(at)?;
                self.pipeline(line, Declares::Nothing)?;
                self.depth -= 1;
                let at = line.place();
                match line.tokens.next().map(|token| token.kind) {
                    Some(Kind::Close) => {}
                    _ => return self.wrong(at, "the bracket is not closed"),
                }
            }
            Kind::Word(word) if is_constant(&word) => {
                has_fields = false;
                self.add(Step::Constant(match word.as_str() {
                    "nil" => Constant::Nil,
                    word => Constant::Bool(word == "true"),
                }));
            }
            Kind::Word(word) => {
                let function = self.function(&word, at)?;
                self.check(function, 0, at)?;
                self.add(Step::Call { function, args: 0 });
            }
            Kind::Text(text) => {
                has_fields = false;
                self.add(Step::Constant(Constant::Text(text.into())));
            }
            Kind::Int(number) => {
                has_fields = false;
                self.add(Step::Constant(Constant::Int(number)));
            }
            Kind::Float(number) => {
                has_fields = false;
                self.add(Step::Constant(Constant::Float(number)));
            }
            Kind::Pipe | Kind::Close | Kind::Comma | Kind::Declare | Kind::Assign => {
                return self.wrong(at, "a value is missing");
            }
        }
        let hangs_on = |token: &Token| !token.spaced && matches!(token.kind, Kind::Field(_));
        while let Some(token) = line.tokens.next_if(hangs_on) {
            match token.kind {
                Kind::Field(name) if has_fields => self.field(name),
                _ => return self.wrong(token.at, "this has no fields"),
            }
        }
        match line.tokens.peek() {
            Some(token) if !token.spaced && !may_follow(&token.kind) => {
                let at = token.at;
                self.wrong(at, "a space is missing between two values")
            }
            _ => Ok(()),
        }
    }

    fn field(&mut self, name: String) {
        self.add(Step::Field {
            name: name.into(),
            args: 0,
        });
    }
}

fn is_constant(word: &str) -> bool {
    matches!(word, "true" | "false" | "nil")
}

/// What may follow an operand without a space.
fn may_follow(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Pipe | Kind::Close | Kind::Comma | Kind::Declare | Kind::Assign
    )
}
