"""An OAuth 2.0 server with Authlib, for tests: tokens live 2 seconds, and refresh tokens rotate.

Prints `port` and its port. `POST /oauth/token` takes the grants `client_credentials`, `password` and `refresh_token`. `GET /api` needs a
token, and answers with the user and the number of token requests so far. `POST /restart` forgets all tokens.
"""

import os
import time

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector, current_token
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc6750 import BearerTokenValidator
from flask import Flask, jsonify
from werkzeug.serving import make_server

LIFETIME_S = 2


class Client(ClientMixin):
    def get_client_id(self):
        return "resumen"

    def get_allowed_scope(self, scope):
        return scope or ""

    def check_client_secret(self, client_secret):
        return client_secret == "client/secret+value"

    def check_endpoint_auth_method(self, method, endpoint):
        return method in ("client_secret_basic", "client_secret_post")

    def check_grant_type(self, grant_type):
        return True


class Token(TokenMixin, dict):
    def check_client(self, client):
        return True

    def get_scope(self):
        return ""

    def get_expires_in(self):
        return self["expires_in"]

    def is_expired(self):
        return time.time() > self["issued_at"] + self["expires_in"]

    def is_revoked(self):
        return self.get("is_revoked", False)

    def get_user(self):
        return self["user"]

    def get_client(self):
        return Client()


tokens = []
requests = []


class PasswordGrant(grants.ResourceOwnerPasswordCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

    def authenticate_user(self, username, password):
        return username if password == "user password" else None


class RefreshGrant(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token):
        known = (token for token in tokens if token.get("refresh_token") == refresh_token)
        return next((token for token in known if not token.is_revoked()), None)

    def authenticate_user(self, refresh_token):
        return refresh_token.get_user()

    def revoke_old_credential(self, refresh_token):
        refresh_token["is_revoked"] = True


class ClientCredentialsGrant(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]


class Validator(BearerTokenValidator):
    def authenticate_token(self, token_string):
        return next((token for token in tokens if token["access_token"] == token_string), None)


def save_token(token, request):
    tokens.append(Token(token, issued_at=time.time(), user=request.user or request.client.get_client_id()))


app = Flask(__name__)
app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
names = ("client_credentials", "password", "refresh_token")
app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {name: LIFETIME_S for name in names}
server = AuthorizationServer(app, lambda client_id: Client() if client_id == "resumen" else None, save_token)
for grant in (ClientCredentialsGrant, PasswordGrant, RefreshGrant):
    server.register_grant(grant)
protect = ResourceProtector()
protect.register_token_validator(Validator())


@app.post("/oauth/token")
def issue_token():
    requests.append(1)
    return server.create_token_response()


@app.get("/api")
@protect()
def show():
    return jsonify(user=current_token["user"], requests=len(requests))


@app.post("/restart")
def restart():
    tokens.clear()
    return "restarted"


if __name__ == "__main__":
    listener = make_server("127.0.0.1", 0, app, threaded=True)
    print("port", listener.server_port, flush=True)
    listener.serve_forever()
