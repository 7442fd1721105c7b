"""InfluxDB line protocol: what is read, and what is refused."""

from tests.formats.case import Case, Row, topic

READ: list[tuple[str, list[Row]]] = [
    ("m f=1", [("m.f", None, 1.0)]),
    ("m f=1 5", [("m.f", 5, 1.0)]),
    ("m f=1 -5", [("m.f", -5, 1.0)]),
    ("m f=1,g=2.5 5\n", [("m.f", 5, 1.0), ("m.g", 5, 2.5)]),
    ("weather,location=hall,sensor=a t=21.5 5", [("weather.hall.a.t", 5, 21.5)]),
    ("weather,sensor=a,location=hall t=21.5 5", [("weather.hall.a.t", 5, 21.5)]),
    (
        "m f=-3i,g=7u,h=+1.5e-3,i=.5,j=2.,k=1E2",
        [("m." + k, None, v) for k, v in zip("fghijk", (-3, 7, 0.0015, 0.5, 2, 100), strict=True)],
    ),
    ("m a=t,b=T,c=true,d=True,e=TRUE", [("m." + k, None, 1.0) for k in "abcde"]),
    ("m a=f,b=F,c=false,d=False,e=FALSE", [("m." + k, None, 0.0) for k in "abcde"]),
    ("m f=9223372036854775807i,g=18446744073709551615u", [("m.f", None, 2.0**63), ("m.g", None, 2.0**64)]),
    # Several lines, blank ones, comments, both kinds of line end, spaces at the ends.
    (
        "# about\n\n m f=1 5 \r\n   # more\nm f=2 6\r\nm f=3\r\n# end",
        [("m.f", 5, 1.0), ("m.f", 6, 2.0), ("m.f", None, 3.0)],
    ),
    ("m  f=1   5", [("m.f", 5, 1.0)]),
    # Escapes.
    (r"my\ me\,as f=1", [("my me,as.f", None, 1.0)]),
    ("me=as f=1", [("me=as.f", None, 1.0)]),
    (r"m,a\ k=v\,1,b\=k=v\=2 f\ x\,y\=z=1", [("m.v,1.v=2.f x,y=z", None, 1.0)]),
    (r"m,a=C:\temp\new f=1", [(r"m.C:\temp\new.f", None, 1.0)]),
    (r"m\n,a=x\\\ y f=1", [(r"m\n.x\\ y.f", None, 1.0)]),
    (r'm,a="q" f"g=1', [('m."q".f"g', None, 1.0)]),
    ("mé,a=Halle\\ Süd f=1", [("mé.Halle Süd.f", None, 1.0)]),
]

REFUSED = [
    (b"", "shape"),
    (b"\n# only a comment", "shape"),
    (b"\xff f=1", "line"),
    (b"m", "line"),
    (b"m ", "line"),
    (b"m f", "line"),
    (b"m f=", "line"),
    (b"m =1", "line"),
    (b"m f=1,", "line"),
    (b"m f=1 ,g=2", "line"),
    (b",a=b f=1", "line"),
    (b"m,a f=1", "line"),
    (b"m,a= f=1", "line"),
    (b"m,=b f=1", "line"),
    (b"m,a=1,a=2 f=1", "line"),
    (b"m f=1 5 6", "line"),
    (b"m f=1 5.0", "line"),
    (b"m f=1 now", "line"),
    (b'm f="open', "line"),
    (b'm f="a" b"', "line"),
    (b"m f=1 12345678901234567890", "line"),
    (b"m f=1 9223372036854775808", "time"),
    (b'm f="text"', "value"),
    (rb'm f="a \" , = \\ b" 5', "value"),
    (b'm f=1,g="over\ntwo lines" 5', "value"),
    (b"m f=1\nm f=nan", "value"),
    (b"m f=inf", "value"),
    (b"m f=1e999", "value"),
    (b"m f=0x10", "value"),
    (b"m f=1_0", "value"),
    ("m f=\N{ARABIC-INDIC DIGIT ONE}".encode(), "value"),
    (b"m f=1.5i", "value"),
    (b"m f=-1u", "value"),
    (b"m f=9223372036854775808i", "value"),
    (b"m f=18446744073709551616u", "value"),
    (b"m f=tRUE", "value"),
    (b"m\t f=1", "channel"),
    (b"a" * 100_000, "line"),
    (b"a,a=" * 50_000, "line"),
    (b'a b="' + b"\\" * 100_000, "line"),
]

LINE = topic("influx-line")
CASES = [
    *(Case(LINE, text.encode(), "unused", expected) for text, expected in READ),
    *(Case(LINE, payload, None, reason) for payload, reason in REFUSED),
]
