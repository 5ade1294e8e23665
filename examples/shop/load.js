// Three kinds of people use the shop: some look around, some buy, and some read reports.
//
//     k6 run load.js                 against a shop on localhost:8080
//     cohort run                     beside cohort.toml: against as many shops as it opens
//
// What the shop holds lies in the shop: a visitor whose session goes on at another instance finds an
// empty cart there and none of the orders, so 404 and 409 are answers like others.

import http from 'k6/http';
import { check, group, sleep } from 'k6';
import { SharedArray } from 'k6/data';
import { Counter, Rate, Trend } from 'k6/metrics';

const BASE = __ENV.BASE_URL || 'http://localhost:8080';
const DURATION = __ENV.DURATION || '60s';

const PRODUCTS = 2000;
const CUSTOMERS = 500;

const visitors = JSON.parse(open('./visitors.json'));
const words = new SharedArray('words', () => visitors.words);
const patterns = new SharedArray('patterns', () => visitors.patterns);
const coupons = new SharedArray('coupons', () => visitors.coupons);
const products = new SharedArray('products', () =>
  Array.from({ length: PRODUCTS }, (_, id) => ({ id, path: `/products/${id}` })),
);

const orders = new Counter('orders');
const totalsRight = new Rate('totals_right');
const checkoutTime = new Trend('checkout_time', true);

export const options = {
  scenarios: {
    browsing: { executor: 'constant-vus', vus: 8, duration: DURATION, gracefulStop: '5s', exec: 'browse' },
    buying: { executor: 'constant-vus', vus: 8, duration: DURATION, gracefulStop: '5s', exec: 'buy' },
    reporting: {
      executor: 'constant-arrival-rate',
      rate: 4,
      timeUnit: '1s',
      duration: DURATION,
      preAllocatedVUs: 2,
      maxVUs: 8,
      gracefulStop: '5s',
      exec: 'report',
    },
  },
  thresholds: {
    checks: ['rate>0.999'],
    totals_right: ['rate>0.999'],
    http_req_failed: ['rate<0.001'],
    'http_req_duration{scenario:browsing}': ['p(95)<250'],
    checkout_time: ['p(95)<500'],
  },
};

const json = { headers: { 'Content-Type': 'application/json' } };

// A visitor of another instance may ask for what is not here, and pay for an empty cart.
const perhapsElsewhere = { responseCallback: http.expectedStatuses(200, 201, 404, 409) };

function anyOf(list) {
  return list[Math.floor(Math.random() * list.length)];
}

function think(seconds) {
  sleep(seconds * (0.5 + Math.random()));
}

export function browse() {
  group('look around', () => {
    const categories = http.get(`${BASE}/categories`);
    check(categories, { 'categories are listed': (r) => r.status === 200 && r.json('categories').length === 12 });
    const category = categories.status === 200 ? anyOf(categories.json('categories')) : 'tea';
    const page = Math.floor(Math.random() * 6);
    const list = http.get(`${BASE}/products?category=${category}&page=${page}`, { tags: { name: 'GET /products' } });
    check(list, { 'products are listed': (r) => r.status === 200 && r.json('products').length === 24 });
    think(0.1);

    const looks = [anyOf(products), anyOf(products), anyOf(products)];
    const pages = http.batch(looks.map((product) => ['GET', BASE + product.path]));
    pages.forEach((page, i) => {
      check(page, { 'the product is shown': (r) => r.status === 200 && r.json('product.id') === looks[i].id });
    });
    think(0.1);
  });

  group('read', () => {
    const leaflet = http.get(`${BASE}/leaflets?name=tea.txt`, { tags: { name: 'GET /leaflets' } });
    check(leaflet, { 'the leaflet is there': (r) => r.status === 200 });
    const page = http.get(`${BASE}/welcome?name=Ann`, { tags: { name: 'GET /welcome' } });
    check(page, { 'the visitor is greeted': (r) => r.status === 200 && r.body.includes('Welcome, Ann!') });
    const sent = http.get(`${BASE}/go?to=/categories`, { redirects: 0, tags: { name: 'GET /go' } });
    check(sent, { 'the visitor is sent on': (r) => r.status === 303 });
  });

  group('search', () => {
    const question = questionToAsk();
    const found = http.get(`${BASE}/search?q=${encodeURIComponent(question)}`, { tags: { name: 'GET /search' } });
    check(found, { 'the search is answered': (r) => r.status === 200 && r.json('found') !== undefined });
    think(0.15);
  });
}

// Mostly words; some know patterns, and a few put stars wherever they are not sure of the spelling.
function questionToAsk() {
  const dice = Math.random();
  if (dice < 0.02) {
    return 'e*a*r*e*s*q';
  }
  return dice < 0.2 ? anyOf(patterns) : anyOf(words);
}

export function buy() {
  const number = Math.floor(Math.random() * CUSTOMERS);

  group('log in', () => {
    const credentials = { customer: `customer-${number}`, password: `open-${number}` };
    const login = http.post(`${BASE}/login`, JSON.stringify(credentials), json);
    check(login, { 'logged in': (r) => r.status === 200 && r.cookies.session !== undefined });
    const liked = http.get(`${BASE}/recommendations`);
    check(liked, { 'something is recommended': (r) => r.status === 200 && r.json('products').length === 8 });
    think(0.05);
  });

  group('fill the cart', () => {
    const wanted = [anyOf(products), anyOf(products), anyOf(products), anyOf(products)];
    const added = http.batch(
      wanted.map((product) => {
        const item = { product: product.id, quantity: 1 + Math.floor(Math.random() * 3) };
        return ['POST', `${BASE}/cart/items`, JSON.stringify(item), json];
      }),
    );
    added.forEach((answer) => check(answer, { 'added to the cart': (r) => r.status === 201 }));
    const cart = http.get(`${BASE}/cart`);
    const right = check(cart, { 'the total is the sum of the lines': (r) => r.status === 200 && isSum(r.json()) });
    totalsRight.add(right);
    think(0.05);
  });

  let order = null;
  group('check out', () => {
    const paid = http.post(`${BASE}/checkout`, JSON.stringify({ coupon: coupon() }), Object.assign({}, json, perhapsElsewhere));
    checkoutTime.add(paid.timings.duration);
    check(paid, { 'paid, or nothing to pay': (r) => r.status === 201 || r.status === 409 });
    if (paid.status === 201) {
      orders.add(1);
      order = paid.json('order');
    }
    think(0.05);
  });

  if (order !== null) {
    group('look at the order', () => {
      const seen = http.get(`${BASE}/orders/${order}`, perhapsElsewhere);
      check(seen, { 'the order is the own': (r) => r.status === 404 || (r.status === 200 && r.json('customer') === number) });
      const receipt = http.get(`${BASE}/orders/${order}/receipt`, perhapsElsewhere);
      check(receipt, {
        'the receipt names the order': (r) =>
          r.status === 404 || (r.status === 200 && r.body.includes(`Receipt for order ${order}`)),
      });
    });
  }
  http.post(`${BASE}/logout`);
  think(0.1);
}

function isSum(cart) {
  const sum = cart.lines.reduce((cents, line) => cents + line.price_cents * line.quantity, 0);
  return cart.total_cents === sum;
}

// The one with an accent was printed on a few cups only.
function coupon() {
  return Math.random() < 0.008 ? 'CAFÉ15' : anyOf(coupons);
}

export function report() {
  const sales = http.get(`${BASE}/reports/sales`);
  check(sales, { 'sales are reported': (r) => r.status === 200 && r.json('sales').length === 12 });
  const stock = http.get(`${BASE}/reports/stock`);
  check(stock, { 'the stock is reported': (r) => r.status === 200 });
}
