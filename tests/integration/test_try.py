import pytest, time
from helpers import mailing
from helpers.promised import home_on
def test_x(postgres, tmp_path):
    with pytest.MonkeyPatch.context() as patch, mailing.mailbox() as box:
        t=time.time()
        with home_on(postgres, box, tmp_path, patch) as home:
            print("home", time.time()-t); t=time.time()
            r=home.report()
            print("report", time.time()-t)
            for p in r.promises:
                print(p.verdict, p.id)
                for c in p.controls: print("      ", c.verdict, c.id, c.reason, c.evidence and (c.evidence.seq, c.evidence.kind))
            print(r.ledger, r.unbound, r.published, r.counts)
            print(r.looks)
