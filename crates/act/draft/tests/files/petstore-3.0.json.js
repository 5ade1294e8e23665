// Drafted from the description (OpenAPI 3.0.3) of Swagger Petstore - OpenAPI 3.0: 7 operations.
// Left out: 1 operation that is deprecated.

import http from 'k6/http';
import { check, sleep } from 'k6';

// Where the service is. A slash at the end is left out.
const BASE_URL = (__ENV.BASE_URL || 'https://petstore3.swagger.io').replace(/\/+$/, '');

// To be given in the environment; nothing secret stands in this file.
const ACCESS_TOKEN = __ENV.ACCESS_TOKEN || ''; // access token (oauth2)
const API_KEY = __ENV.API_KEY || ''; // key for the header api_key
const PASSWORD = __ENV.PASSWORD || ''; // for the field password

export const options = {
  vus: 1,
  duration: '30s',
  thresholds: {
    http_req_failed: ['rate<0.01'],
    checks: ['rate>0.99'],
  },
};

// What stands in paths. Where these do not exist, give others in the environment.
const petId = __ENV.PET_ID || '10';

// POST /pet: Add a new pet to the store
function addPet() {
  const res = http.post(`${BASE_URL}/api/v3/pet`, JSON.stringify({
    category: { id: 1, name: 'Dogs' },
    name: 'doggie',
    owner: { name: 'text', email: 'user@example.com' },
    photoUrls: ['https://example.com/'],
    weight: 1,
  }), {
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${ACCESS_TOKEN}` },
  });
  check(res, { 'addPet is 200 or 201': (r) => [200, 201].includes(r.status) });
}

// PUT /pet: Update an existing pet
function updatePet() {
  const res = http.put(`${BASE_URL}/api/v3/pet`, JSON.stringify({
    category: { id: 1, name: 'Dogs' },
    name: 'doggie',
    owner: { name: 'text', email: 'user@example.com' },
    photoUrls: ['https://example.com/'],
    weight: 1,
  }), {
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${ACCESS_TOKEN}` },
  });
  check(res, { 'updatePet is 200': (r) => r.status === 200 });
}

// GET /pet/findByStatus: Finds Pets by status
function findPetsByStatus() {
  const res = http.get(`${BASE_URL}/api/v3/pet/findByStatus?status=available`);
  check(res, { 'findPetsByStatus is 200': (r) => r.status === 200 });
}

// GET /pet/{petId}
function getPetById() {
  const res = http.get(`${BASE_URL}/api/v3/pet/${petId}`, {
    headers: { api_key: API_KEY },
    tags: { name: 'GET /api/v3/pet/{}' },
  });
  check(res, { 'getPetById is 200': (r) => r.status === 200 });
}

// DELETE /pet/{petId}
function deletePet() {
  const res = http.del(`${BASE_URL}/api/v3/pet/${petId}`, null, {
    headers: { 'X-Request-Reason': 'textxx' },
    tags: { name: 'DELETE /api/v3/pet/{}' },
  });
  check(res, { 'deletePet is fine': (r) => r.status >= 200 && r.status < 400 });
}

// POST /pet/{petId}/uploadImage
function uploadFile() {
  const res = http.post(`${BASE_URL}/api/v3/pet/${petId}/uploadImage`, 'text', {
    headers: { 'Content-Type': 'application/octet-stream' },
    tags: { name: 'POST /api/v3/pet/{}/uploadImage' },
  });
  check(res, { 'uploadFile is 200': (r) => r.status === 200 });
}

// POST /user/login
function delete2() {
  const res = http.post(`${BASE_URL}/api/v3/user/login`, { password: PASSWORD, username: 'ada' });
  check(res, { 'delete2 is fine': (r) => r.status >= 200 && r.status < 400 });
}

// How often each is called, against the others.
const mix = [
  [addPet, 3],
  [updatePet, 3],
  [findPetsByStatus, 10],
  [getPetById, 10],
  [deletePet, 1],
  [uploadFile, 3],
  [delete2, 3],
];

export default function () {
  const all = mix.reduce((sum, [, weight]) => sum + weight, 0);
  let left = Math.random() * all;
  const [call] = mix.find(([, weight]) => (left -= weight) < 0) || mix[0];
  call();
  sleep(1);
}
