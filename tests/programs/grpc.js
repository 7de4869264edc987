// HTTP/2 without TLS, answering as a gRPC server does: its status is in the trailers.

const http2 = require('node:http2');

const server = http2.createServer();
server.on('stream', (stream, headers) => {
  const pieces = [];
  stream.on('data', (piece) => pieces.push(piece));
  stream.on('end', () => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => {
      stream.sendTrailers({ 'grpc-status': '0', 'grpc-message': headers.te || 'no te' });
    });
    stream.end(Buffer.concat(pieces));
  });
});
server.listen(process.env.PORT);
process.on('SIGTERM', () => process.exit(0));
