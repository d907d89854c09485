// llhttp as Node has it inside: reads a line of hexadecimal digits for each connection, and writes a
// line of words that says how it ended and which requests it saw. Run by tests/differential.rs.
'use strict';
process.removeAllListeners('warning');
process.on('warning', () => {});
// Another version differs in other ways, and these would need rows of their own.
if (!process.versions.llhttp.startsWith('9.')) process.exit(1);
const { HTTPParser, allMethods, methods } = process.binding('http_parser');
const names = allMethods || methods;
const lines = require('readline').createInterface({ input: process.stdin });

function story(bytes) {
  const requests = [];
  const parser = new HTTPParser();
  parser.initialize(HTTPParser.REQUEST, {}, 1 << 20);
  let fields = [], url = '', seen;
  parser[HTTPParser.kOnHeaders | 0] = (more, part) => { fields = fields.concat(more); url += part; };
  parser[HTTPParser.kOnHeadersComplete | 0] = (major, minor, rest, method, target) => {
    seen = {
      method: names[method],
      target: url + (target || ''),
      minor: major === 1 ? minor : -major,
      fields: fields.concat(rest || []),
      body: '',
    };
    fields = []; url = '';
    return 0;
  };
  parser[HTTPParser.kOnBody | 0] = (piece, offset, length) => {
    const data = length === undefined ? piece : piece.slice(offset, offset + length);
    seen.body += Buffer.from(data).toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete | 0] = () => { requests.push(seen); fields = []; url = ''; };
  const read = parser.execute(bytes);
  let end = read instanceof Error ? (read.code || read.message) : '';
  // What is left of an upgrade is not HTTP to it.
  if (!end && read !== bytes.length) end = 'STOPPED';
  if (!end) parser.finish();
  parser.close();
  return { requests, end };
}

const hex = (text) => Buffer.from(text, 'latin1').toString('hex');
lines.on('line', (line) => {
  const { requests, end } = story(Buffer.from(line, 'hex'));
  const words = [end || '-', requests.length];
  for (const { method, target, minor, fields, body } of requests) {
    words.push(hex(method), hex(target), minor, hex(body), fields.length / 2, ...fields.map(hex));
  }
  process.stdout.write(words.join(' ') + '\n');
});
