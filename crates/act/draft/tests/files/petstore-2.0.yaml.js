// Drafted from the description (Swagger 2.0) of Swagger Petstore: 4 operations.

import http from 'k6/http';
import { check, sleep } from 'k6';

// Where the service is. A slash at the end is left out.
const BASE_URL = (__ENV.BASE_URL || 'http://petstore.swagger.io').replace(/\/+$/, '');

// To be given in the environment; nothing secret stands in this file.
const KEY = __ENV.KEY || ''; // key for the query key
const BASIC_CREDENTIALS = __ENV.BASIC_CREDENTIALS || ''; // user:password in base64, for basic authentication

export const options = {
  vus: 1,
  duration: '30s',
  thresholds: {
    http_req_failed: ['rate<0.01'],
    checks: ['rate>0.99'],
  },
};

// What stands in paths. Where these do not exist, give others in the environment.
const petId = __ENV.PET_ID || '00000000-0000-4000-8000-000000000000';

// POST /pets: Create a pet
function postPets() {
  const res = http.post(`${BASE_URL}/v2/pets?key=${encodeURIComponent(KEY)}`, JSON.stringify({ born: '2024-01-01', name: 'text' }), {
    headers: { 'Content-Type': 'application/json' },
  });
  check(res, { 'postPets is 201': (r) => r.status === 201 });
}

// GET /pets: List all pets
function listPets() {
  const res = http.get(`${BASE_URL}/v2/pets?tags=text&tags=text&limit=20`, {
    headers: { Authorization: `Basic ${BASIC_CREDENTIALS}` },
  });
  check(res, { 'listPets is 200': (r) => r.status === 200 });
}

// GET /pets/{id}
function showPetById() {
  const res = http.get(`${BASE_URL}/v2/pets/${petId}`, { tags: { name: 'GET /v2/pets/{}' } });
  check(res, { 'showPetById is 200': (r) => r.status === 200 });
}

// POST /pets/{id}/photo
function postPetsIdPhoto() {
  const res = http.post(`${BASE_URL}/v2/pets/${petId}/photo`, '--cohort-draft-boundary\r\nContent-Disposition: form-data; name="caption"\r\n\r\nA photo\r\n--cohort-draft-boundary\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--cohort-draft-boundary--\r\n', {
    headers: {
      'Content-Type': 'multipart/form-data; boundary=cohort-draft-boundary',
      Authorization: `Basic ${BASIC_CREDENTIALS}`,
    },
    tags: { name: 'POST /v2/pets/{}/photo' },
  });
  check(res, { 'postPetsIdPhoto is 204': (r) => r.status === 204 });
}

// How often each is called, against the others.
const mix = [
  [postPets, 3],
  [listPets, 10],
  [showPetById, 10],
  [postPetsIdPhoto, 3],
];

export default function () {
  const all = mix.reduce((sum, [, weight]) => sum + weight, 0);
  let left = Math.random() * all;
  const [call] = mix.find(([, weight]) => (left -= weight) < 0) || mix[0];
  call();
  sleep(1);
}
