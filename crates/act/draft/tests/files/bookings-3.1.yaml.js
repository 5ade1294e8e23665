// Drafted from the description (OpenAPI 3.1.0) of Train Travel API: 5 operations.

import http from 'k6/http';
import { check, sleep } from 'k6';

// Where the service is. A slash at the end is left out.
const BASE_URL = (__ENV.BASE_URL || 'https://eu.trains.example').replace(/\/+$/, '');

// To be given in the environment; nothing secret stands in this file.
const ACCESS_TOKEN = __ENV.ACCESS_TOKEN || ''; // access token (oauth2)
const SESSION = __ENV.SESSION || ''; // for the field session
const CVC = __ENV.CVC || ''; // for the field cvc

export const options = {
  vus: 1,
  duration: '30s',
  thresholds: {
    http_req_failed: ['rate<0.01'],
    checks: ['rate>0.99'],
  },
};

// What stands in paths. Where these do not exist, give others in the environment.
const bookingId = __ENV.BOOKING_ID || '1725ff48-ab45-4bb5-9d02-88745177dedb';

// POST /bookings
function createBooking() {
  const res = http.post(`${BASE_URL}/v1/bookings`, JSON.stringify({
    children: [],
    seats: 2,
    trip: '00000000-0000-4000-8000-000000000000',
  }), {
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${ACCESS_TOKEN}` },
  });
  check(res, { 'createBooking is 201 or 202': (r) => [201, 202].includes(r.status) });
}

// GET /bookings/{bookingId}
function getBookingsBookingId() {
  const res = http.get(`${BASE_URL}/v1/bookings/${bookingId}`, {
    headers: { Authorization: `Bearer ${ACCESS_TOKEN}` },
    tags: { name: 'GET /v1/bookings/{}' },
  });
  check(res, { 'getBookingsBookingId is 200': (r) => r.status === 200 });
}

// DELETE /bookings/{bookingId}
function deleteBooking() {
  const res = http.del(`${BASE_URL}/v1/bookings/${bookingId}`, null, {
    headers: { Authorization: `Bearer ${ACCESS_TOKEN}` },
    tags: { name: 'DELETE /v1/bookings/{}' },
  });
  check(res, { 'deleteBooking is 204': (r) => r.status === 204 });
}

// POST /bookings/{bookingId}/payment
function postBookingsBookingIdPayment() {
  const res = http.post(`${BASE_URL}/v1/bookings/${bookingId}/payment`, JSON.stringify({
    amount: 49.99,
    source: { cvc: CVC, number: '4242424242424242' },
  }), {
    headers: {
      'Content-Type': 'application/json',
      Authorization: `Bearer ${ACCESS_TOKEN}`,
      Cookie: `session=${SESSION}`,
    },
    tags: { name: 'POST /v1/bookings/{}/payment' },
  });
  check(res, { 'postBookingsBookingIdPayment is 200': (r) => r.status === 200 });
}

// GET /stations
function getStations() {
  const res = http.get(`${BASE_URL}/v1/stations?coordinates=52.5200%2C13.4050&filter%5Bcountry%5D=DE`, {
    headers: { Authorization: `Bearer ${ACCESS_TOKEN}` },
  });
  check(res, { 'getStations is 200': (r) => r.status === 200 });
}

// How often each is called, against the others.
const mix = [
  [createBooking, 3],
  [getBookingsBookingId, 10],
  [deleteBooking, 1],
  [postBookingsBookingIdPayment, 3],
  [getStations, 10],
];

export default function () {
  const all = mix.reduce((sum, [, weight]) => sum + weight, 0);
  let left = Math.random() * all;
  const [call] = mix.find(([, weight]) => (left -= weight) < 0) || mix[0];
  call();
  sleep(1);
}
