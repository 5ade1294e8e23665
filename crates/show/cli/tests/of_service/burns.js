// The same in JavaScript.
const http = require('http');

const kept = [];

function remember(visitor) {
  kept.push(Array.from({ length: 200 }, (_, time) => `${visitor} was here ${time} ${Math.random()}`));
}

function countSlowly(steps) {
  let total = 0;
  for (let step = 0; step < steps; step++) total += (step * step) % 7;
  return total;
}

function answer(asked, said) {
  if (asked.url === '/grow') remember(asked.socket.remotePort);
  said.statusCode = asked.url === '/fail' ? 500 : 200;
  said.end(String(countSlowly(asked.url === '/burn' ? 2000000 : 10)));
}

http.createServer(answer).listen(Number(process.argv[2]), '127.0.0.1');
