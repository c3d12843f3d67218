// A certified OIDC provider for tests, on loopback: `node server.mjs PORT CLIENT SECRET REDIRECT`.
// Whoever has an entry in its people may log in, with any password. `PUT /test/people` replaces them; somebody
// who is disabled or gone there gets no token, also for a refresh token of before.
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const [port, client_id, client_secret, redirect] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
let people = {};
let down = false;

function account(ctx, id) {
  const person = people[id];
  if (!person || person.disabled) {
    return undefined;
  }
  return {
    accountId: id,
    claims: () => ({ sub: person.sub ?? id, preferred_username: person.preferred ?? id, groups: person.groups ?? [] })
  };
}

const provider = new Provider(issuer, {
  clients: [
    {
      client_id,
      client_secret,
      redirect_uris: [redirect],
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'client_secret_post'
    }
  ],
  findAccount: account,
  claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
  cookies: { keys: ['only for tests'] },
  features: { devInteractions: { enabled: true } },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
  ttl: { AccessToken: 60, RefreshToken: 86400, Interaction: 600, Session: 86400, Grant: 86400, IdToken: 300 },
  // The client is the team's own: nobody is asked whether it may know them.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId
    });
    grant.addOIDCScope('openid profile email groups offline_access');
    await grant.save();
    return grant;
  }
});
provider.on('server_error', (_, error) => console.error(error));

const answer = provider.callback();
createServer((request, response) => {
  if (request.method === 'PUT' && request.url === '/test/people') {
    let body = '';
    request.on('data', piece => (body += piece));
    request.on('end', () => {
      ({ people, down = false } = JSON.parse(body));
      response.writeHead(204).end();
    });
  } else if (down) {
    response.writeHead(503).end('away');
  } else {
    answer(request, response);
  }
}).listen(Number(port), '127.0.0.1', () => console.log('listening'));
