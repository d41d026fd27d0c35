"""Clients of further languages, a recipe each: what they need, how they are made, and how a program runs with them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from .recipes import PAGE
from .toolchain import Toolchain


@dataclass(frozen=True, slots=True)
class Client:
    """One recipe.

    Attributes:
        needs: what has to be there.
        program: the file of the program, which lies in this folder.
        run: the command that runs it beside the client, with the server's address for `{url}`.
        warnings: a pattern of what the generator says of this contract, though nothing in it could be said better.
        beside: files of this folder that the program needs.
    """

    needs: Toolchain
    program: str
    run: str
    warnings: str = ""
    beside: tuple[str, ...] = ()


EPISODES = {
    "r": Client(
        Toolchain(
            check='Rscript -e \'for (name in c("httr", "R6", "base64enc", "stringr")) library(name, character.only = TRUE)\'',
            install="apt install r-base-core r-cran-httr r-cran-jsonlite r-cran-r6 r-cran-base64enc r-cran-stringr",
        ),
        "episodes.R",
        "mkdir library && R CMD INSTALL --no-byte-compile --no-docs --no-test-load --library=library client >&2 && Rscript episodes.R {url}",
    ),
    "perl": Client(
        Toolchain(
            check="perl -MClass::Accessor -MClass::Data::Inheritable -MClass::Inspector -MDate::Parse -MDateTime -MJSON"
            " -MList::MoreUtils -MLog::Any -MLWP::UserAgent -MModule::Find -MModule::Runtime -MMoose::Role -MURI::Query"
            " -Mnamespace::autoclean -e 1",
            install="apt install libclass-accessor-perl libclass-data-inheritable-perl libclass-inspector-perl"
            " libdatetime-perl libjson-perl liblist-moreutils-perl liblog-any-perl libmodule-find-perl"
            " libmodule-runtime-perl libmoose-perl libnamespace-autoclean-perl libtimedate-perl liburi-query-perl libwww-perl",
        ),
        "episodes.pl",
        "perl episodes.pl {url}",
        # Of the parameter `q` of `listRegistry`, which is on the wire.
        r"q \(reserved word\) cannot be used as model name\. Renamed to ModelQ",
    ),
    "ruby": Client(
        Toolchain(check="ruby -r typhoeus -e 1", install="apt install ruby ruby-typhoeus"),
        "episodes.rb",
        "ruby -I client/lib episodes.rb {url}",
    ),
    "php": Client(
        Toolchain(
            check='php -r \'require "GuzzleHttp/autoload.php"; exit((int) !extension_loaded("mbstring"));\'',
            install="apt install php-cli php-curl php-mbstring php-guzzlehttp-guzzle",
        ),
        "episodes.php",
        "php episodes.php {url}",
    ),
    "javascript": Client(
        Toolchain(
            ("esbuild",), check="node -e 'require(\"superagent\")'", install="npm install --global superagent esbuild"
        ),
        "episodes.js",
        "esbuild client/src/index.js --bundle --platform=node --log-level=error --outfile=client.js && node episodes.js {url}",
    ),
    "bash": Client(
        Toolchain(("curl", "jq"), install="apt install curl jq"),
        "episodes.sh",
        "bash -eu episodes.sh {url}",
    ),
    "openapi-typescript": Client(
        Toolchain(
            ("openapi-typescript", "tsc"),
            check='test -e "$NODE_PATH/openapi-fetch"',
            install="npm install --global openapi-fetch typescript, and openapi-typescript beside typescript@5",
        ),
        "episodes.mts",
        'ln -s "$NODE_PATH" node_modules && tsc --strict --module nodenext --target es2022 --types node episodes.mts'
        " && node episodes.mjs {url}",
    ),
}
"""Programs that play two whole episodes and read an error."""

BUILDS = {
    "rust": Client(
        Toolchain(
            ("cargo",),
            reach="cargo init --quiet --name reach reach && cargo add --quiet --manifest-path reach/Cargo.toml serde_json",
            install="apt install cargo (1.85 or later)",
        ),
        "session.rs",
        "cargo run --quiet --manifest-path Cargo.toml -- {url} frame.png",
        # It makes a name of each media type, and a field of `type`, which is a word of the language.
        r"[\w+]+ cannot be used as a model name\. Renamed to \w+|(?:type|return) cannot be used as a field/variable name\. Renamed to r#(?:type|return)",
        ("Cargo.toml",),
    ),
    "java": Client(
        Toolchain(
            ("mvn", "javac", "java"),
            reach="mvn --quiet --batch-mode dependency:get -Dartifact=org.apache:apache:31:pom",
            install="apt install maven default-jdk-headless",
        ),
        "Session.java",
        "mvn --quiet --batch-mode --file client/pom.xml -Dmaven.test.skip -Dmaven.javadoc.skip -Dmaven.source.skip package >&2"
        ' && JARS=$(echo client/target/*.jar):client/target/lib/* && javac -cp "$JARS" Session.java'
        ' && java -cp "$JARS:." Session {url} frame.png',
        # Of the examples of request bodies, which Swagger UI shows, and its own documents do not.
        r"Ignoring complex example on request body",
    ),
}
"""Programs of a whole session with a client that the language's own tool builds, with what the client asks for."""


@cache
def commands() -> dict[str, str]:
    """Return the manual's commands that make a client in `client`, by the generator."""
    pattern = r"^((?:openapi-generator-cli generate .*-g (\S+)|(openapi-typescript))(?: .*)?)$"
    return {found[2] or found[3]: found[1] for found in re.finditer(pattern, PAGE.read_text(), re.MULTILINE)}
