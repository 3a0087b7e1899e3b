// A provider of OpenID Connect whose accounts need no password: node provider.mjs PORT CLIENT SECRET REDIRECT_URI KEYS
// KEYS: a JSON object. `signing`: its private key; `published`: the public keys that it shows.
import * as oidc from 'oidc-provider';

const [port, client_id, client_secret, redirect_uri, keys] = process.argv.slice(2);
const { signing, published } = JSON.parse(keys);
const issuer = `http://localhost:${port}`;
const provider = new oidc.Provider(issuer, {
  jwks: { keys: [signing] },
  clients: [{ client_id, client_secret, redirect_uris: [redirect_uri], grant_types: ['authorization_code'], response_types: ['code'] }],
  scopes: ['openid', 'email', 'groups'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  findAccount: async (_, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, email: id, email_verified: true, groups: id.startsWith('boss') ? ['leads'] : [] }),
  }),
});
provider.use(async (ctx, next) => {
  await next();
  if (ctx.path === '/jwks') ctx.body = { keys: published };
});
provider.listen(Number(port), '127.0.0.1');
