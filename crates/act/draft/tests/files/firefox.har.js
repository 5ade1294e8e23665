// Drafted from a recording (HAR) of 5 requests to http://forum.test:8080.
// Left out: 1 request to https://fonts.gstatic.com, another origin.
// A form with files was recorded without their content: its plain fields are sent, its files are empty.

import http from 'k6/http';
import { check, group, sleep } from 'k6';

// Where the service is. A slash at the end is left out.
const BASE_URL = (__ENV.BASE_URL || 'http://forum.test:8080').replace(/\/+$/, '');

// To be given in the environment; nothing secret stands in this file.
const USERNAME = __ENV.USERNAME || ''; // for the field username
const PASSWORD = __ENV.PASSWORD || ''; // for the field password

export const options = {
  vus: 1,
  duration: '30s',
  thresholds: {
    http_req_failed: ['rate<0.01'],
    checks: ['rate>0.99'],
  },
};

// The value of a field of a form in HTML; undefined when it is not there.
function field(response, name) {
  const tag = String(response.body).match(new RegExp(`<input[^>]*\\sname="${name}"[^>]*>`));
  const value = tag && tag[0].match(/\svalue="([^"]*)"/);
  return value ? value[1] : undefined;
}

export default function () {
  let res;
  let csrfmiddlewaretoken;

  group('Log in : Forum', () => {
    res = http.get(`${BASE_URL}/login/`);
    csrfmiddlewaretoken = field(res, 'csrfmiddlewaretoken');
    check(res, {
      'GET /login/ is 200': (r) => r.status === 200,
      'GET /login/ brings csrfmiddlewaretoken': () => csrfmiddlewaretoken !== undefined,
    });
    http.batch([
      ['GET', `${BASE_URL}/static/site.css`],
      ['GET', `${BASE_URL}/static/logo.png`],
    ]);
    sleep(5.5);
    res = http.post(`${BASE_URL}/login/`, { csrfmiddlewaretoken: csrfmiddlewaretoken, username: USERNAME, password: PASSWORD });
    check(res, { 'POST /login/ is 200': (r) => r.status === 200 });
    sleep(1.6);
  });

  group('Forum', () => {
    res = http.post(`${BASE_URL}/upload`, '--cohort-draft-boundary\r\nContent-Disposition: form-data; name="title"\r\n\r\nCafé\r\n--cohort-draft-boundary\r\nContent-Disposition: form-data; name="file"\r\n\r\n\r\n--cohort-draft-boundary--\r\n', {
      headers: { 'Content-Type': 'multipart/form-data; boundary=cohort-draft-boundary' },
    });
    check(res, { 'POST /upload is 200': (r) => r.status === 200 });
  });
  sleep(1);
}
