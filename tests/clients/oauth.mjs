// SPDX-License-Identifier: Apache-2.0
//
// Speak OAuth 2 with oauth4webapi, which checks each answer as strictly as the standards let it. Reads {issuer, audience, service:
// {id, secret}, username, password} from standard input and prints what was found out on the way, as JSON.
import * as oauth from "oauth4webapi";

const chunks = [];
for await (const chunk of process.stdin) {
  chunks.push(chunk);
}
const order = JSON.parse(Buffer.concat(chunks).toString());

const issuer = new URL(order.issuer);
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: "oauth2" }));

const service = { client_id: order.service.id };
const basic = oauth.ClientSecretBasic(order.service.secret);
const post = oauth.ClientSecretPost(order.service.secret);
const own = { client_id: "tallygate" };
const none = oauth.None();

async function forService(authentication) {
  const answer = await oauth.clientCredentialsGrantRequest(server, service, authentication, {});
  return oauth.processClientCredentialsResponse(server, service, answer);
}

async function introspect(token) {
  const answer = await oauth.introspectionRequest(server, service, basic, token);
  return oauth.processIntrospectionResponse(server, service, answer);
}

async function revoke(client, authentication, token) {
  await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, authentication, token));
}

async function byPassword(password) {
  const form = { username: order.username, password };
  const answer = await oauth.genericTokenEndpointRequest(server, own, none, "password", form);
  return oauth.processGenericTokenEndpointResponse(server, own, answer);
}

async function refresh(token) {
  const answer = await oauth.refreshTokenGrantRequest(server, own, none, token);
  return oauth.processRefreshTokenResponse(server, own, answer);
}

// As a program would that is asked with the token (RFC 9068): by the published keys.
async function validate(token) {
  const request = new Request("https://resource.example/", { headers: { authorization: `Bearer ${token}` } });
  return oauth.validateJwtAccessToken(server, request, order.audience);
}

async function errorOf(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return { code: error.code, error: error.error, status: error.status, challenges: error.cause };
  }
}

const result = {};
const first = await forService(basic);
const second = await forService(post);
result.service_claims = await validate(first.access_token);
result.service_introspection = await introspect(first.access_token);
await revoke(service, basic, first.access_token);
const login = await byPassword(order.password);
result.user_claims = await validate(login.access_token);
result.user_introspection = await introspect(login.access_token);
const refreshed = await refresh(login.refresh_token);
result.rotated = refreshed.refresh_token !== login.refresh_token;
result.refresh_introspection = await introspect(refreshed.refresh_token);
await revoke(own, none, refreshed.refresh_token);
result.after_revocation = await errorOf(refresh(refreshed.refresh_token));
result.refresh_after_revocation = await introspect(refreshed.refresh_token);
result.wrong_password = await errorOf(byPassword("wrong"));
result.wrong_secret = await errorOf(
  (async () => {
    const answer = await oauth.clientCredentialsGrantRequest(server, service, oauth.ClientSecretBasic("wrong"), {});
    return oauth.processClientCredentialsResponse(server, service, answer);
  })(),
);
result.revoked_token = first.access_token;
result.good_token = second.access_token;
console.log(JSON.stringify(result));
