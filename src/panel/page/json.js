// A JSON parser that keeps the digits of numbers and the order of members. `JSON.parse` rounds every number to a double
// and moves members whose names look like integers to the front.

/** A number with the digits of the text. */
export class Digits {
  constructor(text) {
    this.text = text;
  }

  valueOf() {
    return Number(this.text);
  }

  toString() {
    return this.text;
  }
}

const TOKEN = /[ \t\r\n]*(?:([{}[\]:,])|("[^"\\]*(?:\\.[^"\\]*)*")|(-?\d[\d.eE+-]*)|(true|false|null))/y;
const WORDS = { true: true, false: false, null: null };

/** The value of a JSON text: objects as `Map`, numbers as `Digits`. */
export function parse(text) {
  let at = 0;

  function next() {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text);
    if (!token) throw new SyntaxError(`not JSON at character ${at}`);
    at = TOKEN.lastIndex;
    return token;
  }

  function value([, mark, string, number, word]) {
    if (string) return JSON.parse(string);
    if (number) return new Digits(number);
    if (word) return WORDS[word];
    if (mark === "{") return object();
    if (mark === "[") return array();
    throw new SyntaxError(`unexpected ${mark} before character ${at}`);
  }

  function expect(mark) {
    if (next()[1] !== mark) throw new SyntaxError(`expected ${mark} before character ${at}`);
  }

  /** Calls `member` with the first token of each member, until the token `end`. */
  function members(end, member) {
    let token = next();
    while (token[1] !== end) {
      member(token);
      token = next();
      if (token[1] === ",") token = next();
    }
  }

  function object() {
    const found = new Map();
    members("}", ([, , key]) => {
      expect(":");
      found.set(JSON.parse(key), value(next()));
    });
    return found;
  }

  function array() {
    const found = [];
    members("]", (token) => found.push(value(token)));
    return found;
  }

  return value(next());
}
