// HTTP/2 without TLS, as gRPC servers speak it: answers gRPC's health check with SERVING once the
// file `serving` exists, and everything else with a line of text.
const fs = require('node:fs');
const http2 = require('node:http2');

const SERVING = 1;
const NOT_SERVING = 2;

// A HealthCheckResponse with its length before it.
function response(status) {
  return Buffer.from([0, 0, 0, 0, 2, 0x08, status]);
}

const server = http2.createServer();
server.on('stream', (stream, headers) => {
  if (headers[':path'] !== '/grpc.health.v1.Health/Check') {
    stream.respond({ ':status': 200 });
    stream.end('healthy\n');
    return;
  }
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(response(fs.existsSync('serving') ? SERVING : NOT_SERVING));
});
server.listen(process.env.PORT);
