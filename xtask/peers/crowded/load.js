// Two kinds of visitors, each with 300 things to look at.
import http from 'k6/http';
import { check, sleep } from 'k6';

const lasting = { executor: 'constant-vus', vus: 12, duration: __ENV.DURATION };

export const options = {
  scenarios: {
    shopping: { ...lasting, exec: 'shop' },
    reading: { ...lasting, exec: 'read' },
  },
};

function look(area) {
  for (let i = 0; i < 5; i++) {
    const answer = http.get(`http://localhost:8080/${area}/${Math.floor(Math.random() * 300)}`);
    check(answer, { 'it is there': (r) => r.status === 200 });
  }
  sleep(0.05 + 0.05 * Math.random());
}

export const shop = () => look('products');
export const read = () => look('articles');
