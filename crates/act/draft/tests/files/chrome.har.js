// Drafted from a recording (HAR) of 11 requests to https://shop.example.com.
// Left out: 3 requests that were not answered, were no HTTP, or were preflights of the browser.
// Left out: 1 request to http://shop.example.com, another origin.
// Left out: 1 request to https://www.google-analytics.com, another origin.

import http from 'k6/http';
import { check, group, sleep } from 'k6';

// Where the service is. A slash at the end is left out.
const BASE_URL = (__ENV.BASE_URL || 'https://shop.example.com').replace(/\/+$/, '');

// To be given in the environment; nothing secret stands in this file.
const EMAIL = __ENV.EMAIL || ''; // for the field email
const PASSWORD = __ENV.PASSWORD || ''; // for the field password
const X_API_KEY = __ENV.X_API_KEY || ''; // for the header x-api-key
const COOKIE_REGION = __ENV.COOKIE_REGION || ''; // value of the cookie region; not sent when empty

export const options = {
  vus: 1,
  duration: '30s',
  thresholds: {
    http_req_failed: ['rate<0.01'],
    checks: ['rate>0.99'],
  },
};

// A value of an answer in JSON; undefined when it is not there.
function pick(response, path) {
  try {
    return response.json(path);
  } catch (error) {
    return undefined;
  }
}

// The value of a field of a form in HTML; undefined when it is not there.
function field(response, name) {
  const tag = String(response.body).match(new RegExp(`<input[^>]*\\sname="${name}"[^>]*>`));
  const value = tag && tag[0].match(/\svalue="([^"]*)"/);
  return value ? value[1] : undefined;
}

// A key that no other request has.
function newKey() {
  const digit = () => Math.floor(Math.random() * 16).toString(16);
  return 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx'.replace(/x/g, digit);
}

export default function () {
  const jar = http.cookieJar();
  if (COOKIE_REGION) jar.set(BASE_URL, 'region', COOKIE_REGION);
  let res;
  let csrfToken;
  let productId;
  let token;
  let orderId;

  group('/', () => {
    res = http.get(`${BASE_URL}/`);
    csrfToken = field(res, 'csrf_token');
    check(res, {
      'GET / is 200': (r) => r.status === 200,
      'GET / brings csrfToken': () => csrfToken !== undefined,
    });
    http.batch([
      ['GET', `${BASE_URL}/static/app.css`],
      ['GET', `${BASE_URL}/static/app.js?v=3`],
      ['GET', `${BASE_URL}/static/lamp.webp`],
      ['GET', `${BASE_URL}/favicon.ico`],
    ]);
    res = http.get(`${BASE_URL}/api/products?limit=20&sort=price`, {
      headers: { accept: 'application/json, text/plain, */*' },
    });
    productId = pick(res, 'products.1.id');
    check(res, {
      'GET /api/products is 200': (r) => r.status === 200,
      'GET /api/products brings productId': () => productId !== undefined,
    });
    sleep(4);
    res = http.post(`${BASE_URL}/api/login`, JSON.stringify({
      email: EMAIL,
      password: PASSWORD,
      remember: true,
    }), { headers: { 'Content-Type': 'application/json', 'x-csrf-token': csrfToken } });
    token = pick(res, 'token');
    check(res, {
      'POST /api/login is 200': (r) => r.status === 200,
      'POST /api/login brings token': () => token !== undefined,
    });
    sleep(4.5);
  });

  group('/products/{}', () => {
    res = http.get(`${BASE_URL}/api/products/${productId}?ref=list`, {
      headers: { authorization: `Bearer ${token}` },
      tags: { name: 'GET /api/products/{}' },
    });
    check(res, { 'GET /api/products/{} is 200': (r) => r.status === 200 });
    sleep(2.5);
    res = http.post(`${BASE_URL}/api/orders`, JSON.stringify({
      note: 'it\'s `urgent` ${now}\n',
      productId: productId,
      quantity: 2,
    }), {
      headers: {
        'Content-Type': 'application/json',
        authorization: `Bearer ${token}`,
        'idempotency-key': newKey(),
        'x-api-key': X_API_KEY,
      },
    });
    orderId = pick(res, 'order.id');
    check(res, {
      'POST /api/orders is 201': (r) => r.status === 201,
      'POST /api/orders brings orderId': () => orderId !== undefined,
    });
    res = http.get(`${BASE_URL}/api/orders/${orderId}`, {
      headers: { authorization: `Bearer ${token}` },
      tags: { name: 'GET /api/orders/{}' },
    });
    check(res, { 'GET /api/orders/{} is 200': (r) => r.status === 200 });
    res = http.post(`${BASE_URL}/newsletter`, `list=a&list=b&api_key=${encodeURIComponent(X_API_KEY)}&order=${encodeURIComponent(orderId)}`, {
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    });
    check(res, { 'POST /newsletter is 200': (r) => r.status === 200 });
  });
  sleep(1);
}
