"""Tests of the backend, above all of its XFCC parser. Not part of the image.

Run with:  python3 -m unittest discover -s app/backend
"""

import unittest

from app import app, parse_client_certificates, seen_by_nearest_proxy

GATEWAY = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
FRONTEND = "spiffe://cluster.local/ns/webapp/sa/frontend"
BACKEND = "spiffe://cluster.local/ns/webapp/sa/backend"

# As Envoy writes it in an Istio 1.20 sidecar.
FRONTEND_CALLS_BACKEND = f'By={BACKEND};Hash=0a1b;Subject="";URI={FRONTEND}'
GATEWAY_CALLS_FRONTEND = f'By={FRONTEND};Hash=2c3d;Subject="";URI={GATEWAY}'


class Parser(unittest.TestCase):
    def test_one_entry(self):
        self.assertEqual(
            parse_client_certificates(FRONTEND_CALLS_BACKEND),
            [{"by": [BACKEND], "hash": ["0a1b"], "subject": [""], "uri": [FRONTEND]}],
        )

    def test_separators_inside_quotes_do_not_split(self):
        header = r'Subject="CN=a,O=b;C=c=d";Hash=1,Hash=2;Subject="say \"hi\", \\ then go"'
        self.assertEqual(
            parse_client_certificates(header),
            [
                {"subject": ["CN=a,O=b;C=c=d"], "hash": ["1"]},
                {"hash": ["2"], "subject": ['say "hi", \\ then go']},
            ],
        )

    def test_a_repeated_key_keeps_every_value(self):
        self.assertEqual(parse_client_certificates("URI=a;URI=b;DNS=c"), [{"uri": ["a", "b"], "dns": ["c"]}])

    def test_keys_have_no_case_values_do(self):
        self.assertEqual(parse_client_certificates("uRi=Spiffe://A"), [{"uri": ["Spiffe://A"]}])

    def test_an_equals_sign_in_a_value_stays(self):
        self.assertEqual(parse_client_certificates("Cert=a%3D==;Hash=1"), [{"cert": ["a%3D=="], "hash": ["1"]}])

    def test_white_space_around_entries_is_ignored(self):
        self.assertEqual(parse_client_certificates(" Hash=1 ; By=x , Hash=2"), [{"hash": ["1"], "by": ["x"]}, {"hash": ["2"]}])

    def test_nonsense_yields_nothing_and_no_error(self):
        for header in ("", ",", ";;", "no pairs here", "=value", '"', '"unclosed, quote;'):
            with self.subTest(header=header):
                self.assertEqual(parse_client_certificates(header), [])

    def test_an_open_quote_cannot_swallow_what_our_sidecar_appends(self):
        forged = f'URI={BACKEND};X="'
        self.assertEqual(parse_client_certificates(f"{forged},{FRONTEND_CALLS_BACKEND}"), [])


class NearestProxy(unittest.TestCase):
    def test_the_last_entry_counts_the_others_are_hearsay(self):
        hop = seen_by_nearest_proxy(f"{GATEWAY_CALLS_FRONTEND},{FRONTEND_CALLS_BACKEND}")
        self.assertEqual(hop["caller"]["spiffe_id"], FRONTEND)
        self.assertEqual(hop["called"]["service_account"], "backend")
        self.assertEqual(hop["certificate_hash"], "0a1b")

    def test_no_header_is_an_open_call(self):
        self.assertEqual(
            seen_by_nearest_proxy(None),
            {"encrypted": False, "caller": None, "called": None, "certificate_hash": None},
        )

    def test_a_certificate_without_a_name_is_encrypted_but_anonymous(self):
        hop = seen_by_nearest_proxy("Hash=1;URI=")
        self.assertTrue(hop["encrypted"])
        self.assertIsNone(hop["caller"])

    def test_a_foreign_name_is_kept_whole(self):
        caller = seen_by_nearest_proxy("Hash=1;URI=spiffe://elsewhere/workload")["caller"]
        self.assertEqual(caller["spiffe_id"], "spiffe://elsewhere/workload")
        self.assertIsNone(caller["service_account"])


class Answers(unittest.TestCase):
    def setUp(self):
        self.client = app.test_client()

    def test_health_needs_no_certificate(self):
        self.assertEqual(self.client.get("/health").get_json(), {"status": "ok"})

    def test_an_encrypted_call_names_its_caller(self):
        answer = self.client.get("/api/", headers={"X-Forwarded-Client-Cert": FRONTEND_CALLS_BACKEND})
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        body = answer.get_json()
        self.assertTrue(body["encrypted"])
        self.assertEqual(body["caller"]["service_account"], "frontend")
        self.assertEqual(body["caller"]["namespace"], "webapp")
        self.assertIn("from frontend in the namespace webapp", body["in_words"])
        self.assertIsNone(body["frontend_was_called"])

    def test_a_plain_call_is_called_so(self):
        body = self.client.get("/api/").get_json()
        self.assertFalse(body["encrypted"])
        self.assertIsNone(body["caller"])
        self.assertTrue(body["in_words"].startswith("Not encrypted"))

    def test_the_frontends_report_completes_the_chain(self):
        headers = {"X-Forwarded-Client-Cert": FRONTEND_CALLS_BACKEND, "X-Lab-Frontend-Client-Cert": GATEWAY_CALLS_FRONTEND}
        before = self.client.get("/api/", headers=headers).get_json()["frontend_was_called"]
        self.assertTrue(before["encrypted"])
        self.assertEqual(before["caller"]["spiffe_id"], GATEWAY)

    def test_the_frontend_may_report_an_open_call(self):
        headers = {"X-Forwarded-Client-Cert": FRONTEND_CALLS_BACKEND, "X-Lab-Frontend-Client-Cert": "none"}
        body = self.client.get("/api/", headers=headers).get_json()
        self.assertTrue(body["encrypted"])
        self.assertFalse(body["frontend_was_called"]["encrypted"])

    def test_the_frontends_report_is_no_proof_for_the_backend(self):
        body = self.client.get("/api/", headers={"X-Lab-Frontend-Client-Cert": FRONTEND_CALLS_BACKEND}).get_json()
        self.assertFalse(body["encrypted"])

    def test_unknown_paths_answer_in_json(self):
        answer = self.client.get("/api/nothing-here")
        self.assertEqual(answer.status_code, 404)
        self.assertEqual(answer.get_json()["error"], "Not Found")

    def test_only_reading_is_offered(self):
        self.assertEqual(self.client.post("/api/").status_code, 405)


if __name__ == "__main__":
    unittest.main()
