// client-flow.mjs CLIENT BASE-URL
//
// Takes a key through its life with one of npm's clients, and prints what it
// was answered: [{ step, status, type, body }].  CLIENT: urllib,
// digest-fetch, atlas-api-client or axios.
//
// From the environment: NPM (the directory of util/npm), PUBLIC_KEY,
// PRIVATE_KEY, ORG_ID, PROJECT_ID.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const env = process.env;
const [name, base] = process.argv.slice(2);
const require = createRequire(`${env.NPM}/package.json`);
const json = 'application/json';
const accept = /\/v2$/.test(base)
    ? 'application/vnd.atlas.2023-01-01+json' : json;
const { ORG_ID: org, PROJECT_ID: project } = env;


// each: (method, url, body) to { status, type, body }, the body as text
const clients = {
    urllib() {
        const { request } = require('urllib');

        return async (method, url, body) => {
            const res = await request(url, { method, headers: { accept },
                digestAuth: `${env.PUBLIC_KEY}:${env.PRIVATE_KEY}`,
                data: body, contentType: body ? 'json' : undefined,
                dataType: 'text' });
            return { status: res.status, body: res.data,
                type: res.headers['content-type'] };
        };
    },

    // one object for all requests, as its users have it: it goes on counting
    // when the nonce is another
    async 'digest-fetch'() {
        const file = require.resolve('digest-fetch');
        const { default: Digest } = await import(pathToFileURL(file));
        const client = new Digest(env.PUBLIC_KEY, env.PRIVATE_KEY);

        return async (method, url, body) => {
            const headers = { accept };
            if (body) {
                headers['content-type'] = json;
            }
            const res = await client.fetch(url, { method, headers,
                body: body && JSON.stringify(body) });
            return { status: res.status, body: await res.text(),
                type: res.headers.get('content-type') };
        };
    },

    // its own calls know nothing of keys, but all go through this
    'atlas-api-client'() {
        const HttpClient = require('mongodb-atlas-api-client/src/httpClient');
        let last;
        const urllib = { request: async (url, options) => {
            last = await require('urllib').request(url, options);
            return last;
        } };
        const client = new HttpClient(urllib, env.PUBLIC_KEY,
            env.PRIVATE_KEY);

        return async (method, url, body) => {
            const headers = { accept };
            if (body) {
                headers['Content-Type'] = json;
            }
            const data = await client.fetch(url, { method, headers,
                data: body });
            return { status: last.status, body: JSON.stringify(data) ?? '',
                type: last.headers['content-type'] };
        };
    },

    axios() {
        const { default: Digest } = require('@mhoc/axios-digest-auth');
        const client = new Digest({ username: env.PUBLIC_KEY,
            password: env.PRIVATE_KEY });

        return async (method, url, body) => {
            const res = await client.request({ method, url, data: body,
                headers: { accept } }).catch((error) => error.response);
            return { status: res.status, body: JSON.stringify(res.data),
                type: res.headers['content-type'] };
        };
    },
};


const steps = [];
const send = await clients[name]();

async function step(title, method, path, body) {
    const res = await send(method, base + path, body);
    steps.push({ step: title, ...res });
    try {
        return JSON.parse(res.body);
    } catch {
        return {};
    }
}


async function life() {
    const keys = `/orgs/${org}/apiKeys`;
    const inProject = `/groups/${project}/apiKeys`;

    await step('who', 'GET', '/');
    const key = await step('create', 'POST', keys,
        { desc: 'of a client', roles: ['ORG_MEMBER'] });
    await step('list', 'GET', `${keys}?pageNum=1&itemsPerPage=2`);
    await step('get', 'GET', `${keys}/${key.id}?pretty=true`);
    await step('change', 'PATCH', `${keys}/${key.id}`, { desc: 'changed' });

    const list = `${keys}/${key.id}/accessList`;
    await step('add', 'POST', list, [{ ipAddress: '192.0.2.7' },
        { cidrBlock: '198.51.100.0/24' }]);
    await step('entries', 'GET', list);
    await step('entry', 'GET', `${list}/198.51.100.0%2F24`);
    await step('drop', 'DELETE', `${list}/198.51.100.0%2F24`);
    await step('dropped', 'GET', `${list}/198.51.100.0%2F24`);

    await step('assign', 'POST', `${inProject}/${key.id}`,
        [{ roles: ['GROUP_READ_ONLY'] }]);
    await step('grant', 'PATCH', `${inProject}/${key.id}`,
        { roles: ['GROUP_OWNER'] });
    await step('members', 'GET', inProject);
    await step('unassign', 'DELETE', `${inProject}/${key.id}`);

    await step('delete', 'DELETE', `${keys}/${key.id}`);
    await step('gone', 'GET', `${keys}/${key.id}`);
}


// what of the whole client there is an answer for
async function whole() {
    const client = require('mongodb-atlas-api-client')({ baseUrl: base,
        publicKey: env.PUBLIC_KEY, privateKey: env.PRIVATE_KEY,
        projectId: project });
    const options = { httpOptions: { headers: { accept,
        'Content-Type': json } } };
    const call = async (title, promise) => steps.push({ step: title,
        body: JSON.stringify(await promise) });

    await call('orgs', client.organization.getAll(options));
    await call('org', client.organization.getById(org, options));
    await call('projects of the org',
        client.organization.getAllProjectsForOrganization(org,
            { ...options, itemsPerPage: 1 }));
    await call('projects', client.project.getAll(options));
    await call('project', client.project.getById(project, options));
    await call('new project', client.project.create({
        name: `of a client, ${base}`, orgId: org }, options));
}


if (name === 'axios') {
    await step('without a query', 'GET', `/orgs/${org}/apiKeys`);
    await step('with a query', 'GET', `/orgs/${org}/apiKeys?pageNum=1`);
} else {
    await life();
}
if (name === 'atlas-api-client') {
    await whole();
}

console.log(JSON.stringify(steps));
process.exit(0);
