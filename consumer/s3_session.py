"""The HTTP beneath the S3 client: it asks the endpoint it was given and no other place.

Imported late, by ``consumer.audio_s3``: aiobotocore takes half a second.
"""

from functools import partial
from types import SimpleNamespace

from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.httpsession import AIOHTTPSession
from botocore.awsrequest import AWSPreparedRequest

from consumer.errors import AudioStoreUnavailableError


class NoRedirects(AIOHTTPSession):
    """A session of aiobotocore's in which no redirect is followed.

    aiohttp follows one to any host, with the session token, and its answer would pass for the object (CWE-918).
    """

    async def _get_session(self, proxy_url: str | None) -> SimpleNamespace:
        # aiobotocore asks nothing else of it than this, and has no option for it.
        session = await super()._get_session(proxy_url)
        return SimpleNamespace(request=partial(session.request, allow_redirects=False))

    async def send(self, request: AWSPreparedRequest) -> AioAWSResponse:
        """Send a request, and refuse to be sent elsewhere.

        Parameters
        ----------
        request : botocore.awsrequest.AWSPreparedRequest
            Signed.

        Returns
        -------
        aiobotocore.awsrequest.AioAWSResponse
            Any answer but a redirect. One that names a bucket's region is none: botocore makes the endpoint of a region
            itself, and stays with one that was configured.

        Raises
        ------
        AudioStoreUnavailableError
            If the answer is a redirect. Not an error of botocore's: s3fs would ask five times.
        """
        response = await super().send(request)
        status = response.status_code
        if 300 <= status < 400 and status != 304 and "x-amz-bucket-region" not in response.headers:
            response.raw.close()
            raise AudioStoreUnavailableError(f"the S3 endpoint answered {status}: a redirect, which was refused")
        return response
