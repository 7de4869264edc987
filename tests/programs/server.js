// An ordinary web server, and on some paths one that does what proxies find hard.
// Listens on $PORT; $VERSION is part of its greeting.

const http = require('node:http');

const greeting = `Hello World! I'm Server version ${process.env.VERSION || '?'}\n`;
let events = null;

const server = http.createServer((request, response) => {
  switch (request.url) {
    // A stream of events, of which the first comes at once and the second with GET /event.
    case '/events':
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: first\n\n');
      events = response;
      return;
    case '/event':
      events.end('data: second\n\n');
      response.end('sent\n');
      return;
    case '/echo':
      response.writeHead(200);
      request.pipe(response);
      return;
    // What the request's trailers say comes back in the answer's.
    case '/trailers':
      request.resume();
      request.on('end', () => {
        response.writeHead(200, { trailer: 'x-sum' });
        response.write('body\n');
        response.addTrailers({ 'x-sum': request.trailers['x-sum'] || 'none' });
        response.end();
      });
      return;
    case '/hints':
      response.writeEarlyHints({ link: '</style.css>; rel=preload' }, () => {
        response.writeHead(404);
        response.end('only hints\n');
      });
      return;
    default:
      response.end(greeting);
  }
});

server.on('upgrade', (request, socket) => {
  const protocol = request.headers.upgrade;
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`);
  socket.pipe(socket);
});

server.listen(process.env.PORT, () => console.log(`version ${process.env.VERSION} listens`));
process.on('SIGTERM', () => server.close());
